"""Invalidations that cannot be planned are set aside, and the rest are planned."""

from collections.abc import Sequence
from datetime import datetime
from typing import Any
from uuid import UUID

import msgspec
import psycopg
import pytest
from psycopg.types.json import Jsonb

from engine.errors import InvalidInput, InvalidPartition
from engine.flow.deployment.propose import propose
from engine.flow.ingestion.ingest import ingest
from engine.flow.planning import decision, set_aside
from engine.flow.planning.approve import approve, reject
from engine.flow.planning.plan import Planned, plan
from engine.flow.shared.org_context import OrgContext
from engine.lineage.graph import Lineage
from engine.model.event import Batch, Delivery, Received, SourceEvent
from engine.model.invalidation import Invalidation
from engine.partitions import limits
from engine.planner import PartitionLookup, Plan
from engine.service.queries.explain_partition import explain_partition
from engine.service.queries.health import work
from engine.service.queries.invalidations import invalidations
from engine.service.queries.progress import progress
from engine.service.queries.status import status
from engine.store.database import Database
from engine.store.orgs import set_setting
from tests.support.worlds import World, job, source

IDS = {"id": {"range": 1000}}


@pytest.fixture
async def world(database: Database) -> World:
    """Sources `a`, `s` and `z`, each read by a job; the ids of `s` are unbounded."""
    return await World.made(
        database,
        source("a"),
        job("b", "a"),
        source("s", IDS),
        job("t", "s", partitioning=IDS),
        source("z"),
        job("y", "z"),
    )


async def ruin(world: World, request: UUID, partition_key: str) -> None:
    """Give an invalidation an impossible scope for its dataset."""
    await world.rows(
        "UPDATE data_invalidations SET partition_key = %s WHERE id = %s RETURNING id",
        partition_key,
        request,
    )


async def planned(world: World) -> Planned:
    found = await world.plan()
    assert found is not None
    return found


async def replayed(world: World, *ids: UUID, whole: bool = False) -> list[UUID]:
    async with world.conn() as conn:
        return await set_aside.replay(conn, world.org, ids or None, whole=whole)


async def open_count(world: World) -> int:
    return (await status(world.caller, world.service)).open_invalidations


@pytest.mark.parametrize("place", [0, 3, 6])
async def test_the_remaining_invalidations_of_a_batch_are_planned(world: World, place: int) -> None:
    ids = [(await world.change("a", f"2013-02-{day:02}")).invalidations[0] for day in range(10, 17)]
    await ruin(world, ids[place], "no day")
    await world.change("z", "2013-02-13")
    done = await planned(world)
    assert (done.set_aside, done.invalidations, done.tasks) == ((ids[place],), 7, 7)
    assert await world.plan() is None
    (row,) = await invalidations(world.caller, world.service, only_set_aside=True)
    assert (row.id, row.outcome, row.processed_at) == (ids[place], "set_aside", None)
    assert row.planning_error is not None
    assert "'no day' is not a day" in row.planning_error


async def test_invalidations_set_aside_appear_in_every_view(world: World) -> None:
    (id_,) = (await world.change("a", "2013-02-13")).invalidations
    await ruin(world, id_, "no day")
    await world.plan()
    view = await status(world.caller, world.service)
    waiting = await progress(world.caller, world.service, [id_])
    checks = {check.name: check for check in await work(world.caller, world.service)}
    why = await explain_partition(world.caller, world.service, "a", "2013-02-13")
    assert ([each.id for each in view.set_aside], view.set_aside_total) == ([id_], 1)
    assert (view.open_invalidations, view.is_at_rest) == (0, True)
    assert (waiting.is_over, waiting.is_good) == (True, False)
    assert "'no day' is not a day" in waiting.set_aside[0]
    assert checks["set aside"].verdict == "warn"
    assert why.open_invalidations == (id_,)


async def test_an_invalidation_set_aside_can_be_replayed(world: World) -> None:
    (id_,) = (await world.change("a", "2013-02-13")).invalidations
    await ruin(world, id_, "no day")
    await world.plan()
    assert await replayed(world, id_) == [id_]
    assert (await planned(world)).set_aside == (id_,)
    await ruin(world, id_, "2013-02-13")
    assert await replayed(world) == [id_]
    assert (await planned(world)).tasks == 1
    assert await world.tasks("b") == {"queued": ["b[2013-02-13]"]}
    assert await replayed(world, id_) == []


async def test_an_interval_with_too_many_keys_is_set_aside(world: World) -> None:
    """A backlog of sparse ids: few texts, and 130 trillion keys."""
    await world.change("s", "0-999")
    await world.plan()
    await world.run()
    first, last = (1700000000000000000 + n * 130000000000000000 for n in (0, 1))
    await world.change("s", f"{first}-{first + 999}..{last}-{last + 999}")
    await world.change("z", "2013-02-13")
    done = await planned(world)
    assert (len(done.set_aside), done.tasks) == (1, 1)
    (row,) = await invalidations(world.caller, world.service, only_set_aside=True)
    assert row.planning_error is not None
    assert "130,000,000,000,001 partitions" in row.planning_error
    assert await replayed(world, whole=True) == [row.id]
    assert (await planned(world)).tasks == 1
    assert await world.tasks("t") == {"succeeded": ["t[0-999]"], "queued": ["t[0-999]"]}


async def test_invalidations_that_fail_only_together_are_planned_separately(
    world: World, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(limits, "MAX_KEYS", 10)
    await world.change("a", "2013-02-01..2013-02-08")
    await world.change("a", "2013-03-01..2013-03-08")
    done = await planned(world)
    assert (done.set_aside, done.invalidations, done.tasks) == ((), 2, 16)
    assert len(await world.rows("SELECT DISTINCT plan_ids FROM tasks")) == 2


def failing(monkeypatch: pytest.MonkeyPatch, id_: UUID, error: Exception) -> None:
    """Make the pure planner fail on one invalidation."""
    make = decision.make_plan

    def fails(
        lineage: Lineage, those: Sequence[Invalidation], known: PartitionLookup, now: datetime
    ) -> Plan:
        if any(each.id == id_ for each in those):
            raise error
        return make(lineage, those, known, now)

    monkeypatch.setattr(decision, "make_plan", fails)


@pytest.mark.parametrize(
    "error",
    [
        KeyError("k"),
        RecursionError(),
        AssertionError("no"),
        ValueError("a NUL \0 and half a pair \ud800"),
        psycopg.errors.ProgramLimitExceeded("too large"),
        psycopg.DataError("text fields cannot contain NUL"),
    ],
)
async def test_an_invalidation_that_fails_with_any_error_is_set_aside(
    world: World, monkeypatch: pytest.MonkeyPatch, error: Exception
) -> None:
    (id_,) = (await world.change("a", "2013-02-13")).invalidations
    await world.change("z", "2013-02-13")
    failing(monkeypatch, id_, error)
    assert (await planned(world)).set_aside == (id_,)
    assert await world.tasks() == {"queued": ["y[2013-02-13]"]}


@pytest.mark.parametrize(
    "error",
    [
        psycopg.OperationalError("the connection is lost"),
        psycopg.errors.DeadlockDetected("deadlock"),
        psycopg.errors.SerializationFailure("serialization"),
        psycopg.errors.LockNotAvailable("lock timeout"),
        psycopg.errors.QueryCanceled("statement timeout"),
        psycopg.errors.DiskFull("no space"),
        psycopg.errors.AdminShutdown("shutdown"),
        psycopg.errors.InsufficientPrivilege("a missing grant"),
        ConnectionResetError("reset"),
        TimeoutError("a name that takes too long to be resolved"),
        MemoryError(),
    ],
)
async def test_errors_unrelated_to_the_data_are_raised(
    world: World, monkeypatch: pytest.MonkeyPatch, error: Exception
) -> None:
    (id_,) = (await world.change("a", "2013-02-13")).invalidations
    failing(monkeypatch, id_, error)
    with pytest.raises(type(error)):
        await world.plan()
    assert await open_count(world) == 1
    monkeypatch.undo()
    assert (await planned(world)).tasks == 1


async def test_a_lock_timeout_sets_nothing_aside(world: World) -> None:
    await world.changed("a", "2013-02-13")
    await world.change("a", "2013-02-13")
    async with world.conn() as holding, holding.transaction():
        await holding.execute("SELECT FROM tasks FOR UPDATE")
        async with world.conn() as conn:
            await conn.execute("SET lock_timeout = '50ms'")
            with pytest.raises(psycopg.errors.LockNotAvailable):
                await plan(conn, world.org)
            await conn.execute("RESET lock_timeout")
    assert await open_count(world) == 1
    assert (await planned(world)).tasks == 1


async def test_a_lost_session_sets_nothing_aside(world: World) -> None:
    await world.changed("a", "2013-02-13")
    await world.change("a", "2013-02-13")

    async def end(conn: Any) -> None:
        await world.rows("SELECT pg_terminate_backend(%s)", conn.info.backend_pid)

    async with world.conn() as conn:
        await end(conn)
        with pytest.raises(psycopg.OperationalError):
            await plan(conn, world.org)
    assert await open_count(world) == 1


async def test_no_invalidation_is_to_blame_for_settings_that_cannot_be_read(world: World) -> None:
    await world.change("a", "2013-02-13")
    async with world.conn() as conn:
        await set_setting(conn, world.org.id, "blast_radius", "many")
    with pytest.raises(msgspec.ValidationError):
        await world.plan()
    assert await open_count(world) == 1
    async with world.conn() as conn:
        await set_setting(conn, world.org.id, "blast_radius", None)
    assert (await planned(world)).tasks == 1


async def test_nothing_is_to_blame_for_a_lineage_that_cannot_be_read(world: World) -> None:
    await world.change("a", "2013-02-13")
    before = await spoil_lineage(world, {"dt": {"time": "never"}})
    with pytest.raises(InvalidPartition):
        await world.plan()
    with pytest.raises(InvalidPartition):
        await world.change("z", "2013-02-13")
    await spoil_lineage(world, before)
    assert await world.rows("SELECT FROM dead_letters") == []
    assert (await planned(world)).tasks == 1


async def test_a_delivery_is_not_to_blame_for_a_lineage_that_cannot_be_read_once(
    world: World, monkeypatch: pytest.MonkeyPatch
) -> None:
    async def failing_once(conn: Any, org: UUID) -> Lineage:
        monkeypatch.undo()
        raise InvalidPartition("between the statements of a deploy")

    monkeypatch.setattr("engine.flow.shared.org_context.load_lineage", failing_once)
    event = Received.one(SourceEvent(dataset="a"), Delivery("stream", "1"))
    async with world.conn() as conn:
        with pytest.raises(InvalidPartition):
            await ingest(
                conn, OrgContext(world.org.id), Batch(consumer="c", received=(event,), advances=())
            )
    assert await world.rows("SELECT FROM dead_letters") == []


async def spoil_lineage(world: World, partitioning: Any) -> Any:
    """Replace the partitioning of a dataset behind Knockon's back; return the one before."""
    ((before,),) = [
        row.values()
        for row in await world.rows(
            "SELECT partitioning FROM dataset_versions v JOIN datasets d ON d.id = v.dataset_uuid"
            " WHERE d.name = 'z'"
        )
    ]
    await world.rows(
        "UPDATE dataset_versions v SET partitioning = %s::json FROM datasets d"
        " WHERE d.id = v.dataset_uuid AND d.name = 'z' RETURNING 1",
        Jsonb(partitioning),
    )
    await world.rows(
        "UPDATE orgs SET lineage_epoch = nextval('knockon.lineage_epochs') RETURNING 1"
    )
    return before


async def test_a_deploy_that_cannot_be_planned_is_rejected(
    world: World, monkeypatch: pytest.MonkeyPatch
) -> None:
    await world.changed("a", "2013-01-01..2013-06-30")
    monkeypatch.setattr(limits, "MAX_KEYS", 100)
    with pytest.raises(InvalidInput, match="at most 100 can be listed"):
        await world.deploy(source("a"), job("b", "a", config={"more": 1}), job("c", "b"))
    assert await world.rows("SELECT FROM datasets WHERE name = 'c'") == []


async def test_a_pending_plan_that_cannot_be_planned_stays_pending(
    world: World, monkeypatch: pytest.MonkeyPatch
) -> None:
    async with world.conn() as conn:
        await set_setting(conn, world.org.id, "blast_radius", 1)
    (id_,) = (await world.change("a", "2013-02-13..2013-02-14")).invalidations
    plan_id = (await planned(world)).plan_id
    assert plan_id is not None
    failing(monkeypatch, id_, KeyError("k"))
    async with world.conn() as conn:
        for decide in (approve, reject):
            with pytest.raises(InvalidInput, match="cannot be planned: KeyError"):
                await decide(conn, world.org, plan_id)
    monkeypatch.undo()
    async with world.conn() as conn:
        assert (await approve(conn, world.org, plan_id)).tasks == 2


async def test_a_change_that_cannot_be_planned_is_not_proposed(world: World) -> None:
    event = SourceEvent(dataset="s", partitions=("0-999..1000000000000-1000000000999",))
    async with world.conn() as conn:
        with pytest.raises(InvalidInput, match="1,000,000,001 partitions"):
            await propose(conn, world.org, event)


async def test_invalidations_set_aside_do_not_prevent_a_deploy(world: World) -> None:
    (id_,) = (await world.change("a", "2013-02-13")).invalidations
    await ruin(world, id_, "not a day")
    await world.plan()
    moved = source("a")
    moved["outputs"][0]["storage"] = {"table": "moved"}
    await world.deploy(
        moved,
        job("b", "a"),
        source("s", IDS),
        job("t", "s", partitioning=IDS),
        source("z"),
        job("y", "z"),
    )
    assert await open_count(world) == 1  # widened to all of the dataset
    await world.plan()
    assert await open_count(world) == 0
