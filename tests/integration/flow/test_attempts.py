"""Planning attempts without an outcome, after the loss of the process or its connection."""

from collections.abc import Callable, Sequence
from datetime import datetime
from uuid import UUID

import psycopg
import pytest

from engine.flow.planning import decision, set_aside
from engine.flow.planning.plan import Planned, plan
from engine.lineage.graph import Lineage
from engine.model.invalidation import Invalidation
from engine.planner import PartitionLookup, Plan
from engine.service.queries.invalidations import invalidations
from engine.store.database import Database
from tests.simulation.crashes import Crash
from tests.support.worlds import World, job, source

Check = Callable[[Sequence[UUID]], None]


@pytest.fixture
async def world(database: Database) -> World:
    return await World.made(database, source("a"), job("b", "a"))


async def changes(world: World, count: int) -> list[UUID]:
    return [
        (await world.change("a", f"2013-{1 + n // 28:02}-{1 + n % 28:02}")).invalidations[0]
        for n in range(count)
    ]


def watching(monkeypatch: pytest.MonkeyPatch, check: Check) -> None:
    """Call ``check`` with the invalidations passed to the pure planner."""
    make = decision.make_plan

    def checked(
        lineage: Lineage, those: Sequence[Invalidation], known: PartitionLookup, now: datetime
    ) -> Plan:
        check([each.id for each in those])
        return make(lineage, those, known, now)

    monkeypatch.setattr(decision, "make_plan", checked)


def dying(monkeypatch: pytest.MonkeyPatch, *culprits: UUID) -> list[int]:
    """Kill the planner at each batch with one of these invalidations; returns the batch sizes."""
    sizes: list[int] = []

    def die(those: Sequence[UUID]) -> None:
        sizes.append(len(those))
        if not set(culprits).isdisjoint(those):
            raise Crash

    watching(monkeypatch, die)
    return sizes


async def plan_all(world: World, most: int = 100) -> list[Planned]:
    """Plan until nothing is open, in spite of crashes."""
    found = []
    for _ in range(most):
        try:
            planned = await world.plan()
        except Crash:
            continue
        if planned is None:
            return found
        found.append(planned)
    raise AssertionError("there is no end to it")


@pytest.mark.parametrize("place", [0, 17, 39])
async def test_the_failing_invalidation_is_isolated(
    world: World, monkeypatch: pytest.MonkeyPatch, place: int
) -> None:
    ids = await changes(world, 40)
    sizes = dying(monkeypatch, ids[place])
    done = await plan_all(world)
    assert [id_ for each in done for id_ in each.set_aside] == [ids[place]]
    assert sum(each.invalidations for each in done) == 39
    assert sizes[:4] == [40, 40, 40, 20]
    assert len(sizes) < 20
    (row,) = await invalidations(world.caller, world.service, only_set_aside=True)
    assert row.planning_error is not None
    assert "3 attempts to plan it alone were interrupted" in row.planning_error


async def test_batches_that_are_too_large_are_split_and_planned(
    world: World, monkeypatch: pytest.MonkeyPatch
) -> None:
    ids = await changes(world, 10)

    def die(those: Sequence[UUID]) -> None:
        if len(those) > 3:
            raise Crash

    watching(monkeypatch, die)
    done = await plan_all(world)
    assert [id_ for each in done for id_ in each.set_aside] == []
    assert sum(each.invalidations for each in done) == len(ids)


async def test_a_replayed_invalidation_starts_with_no_attempts(
    world: World, monkeypatch: pytest.MonkeyPatch
) -> None:
    ids = await changes(world, 3)
    sizes = dying(monkeypatch, ids[1])
    await plan_all(world)
    async with world.conn() as conn:
        assert await set_aside.replay(conn, world.org, None) == [ids[1]]
    sizes.clear()
    await plan_all(world)
    assert len(sizes) >= 3
    monkeypatch.undo()
    async with world.conn() as conn:
        assert await set_aside.replay(conn, world.org, None) == [ids[1]]
    (planned,) = await plan_all(world)
    assert planned.tasks == 1


async def test_attempts_at_later_batches_do_not_count_for_one_set_aside_before(
    world: World,
) -> None:
    await world.change("a", "2013-02-13")
    await world.rows("UPDATE data_invalidations SET partition_key = 'no day' RETURNING id")
    await world.plan()
    for _ in range(10):
        await world.change("a", "2013-02-14")
        done = await world.plan()
        assert done is not None
        assert (done.invalidations, done.set_aside) == (1, ())


async def test_recorded_errors_are_not_unfinished_attempts(
    world: World, monkeypatch: pytest.MonkeyPatch
) -> None:
    await changes(world, 2)
    sizes: list[int] = []

    def fail(those: Sequence[UUID]) -> None:
        sizes.append(len(those))
        raise psycopg.errors.DiskFull("no space")

    watching(monkeypatch, fail)
    for _ in range(20):
        with pytest.raises(psycopg.errors.DiskFull):
            await world.plan()
    assert sizes == [2] * 20


async def test_running_out_of_memory_makes_the_batch_smaller(
    world: World, monkeypatch: pytest.MonkeyPatch
) -> None:
    ids = await changes(world, 4)

    def fail(those: Sequence[UUID]) -> None:
        if ids[2] in those:
            raise MemoryError

    watching(monkeypatch, fail)
    for _ in range(12):
        try:
            if await world.plan() is None:
                break
        except MemoryError:
            pass
    (row,) = await invalidations(world.caller, world.service, only_set_aside=True)
    assert row.id == ids[2]


async def test_a_connection_lost_during_planning_counts_as_an_attempt(
    world: World, monkeypatch: pytest.MonkeyPatch
) -> None:
    """As after a minute of computation: the server ends a session that is idle in a transaction."""
    ids = await changes(world, 8)
    pids: list[int] = []

    def lose(those: Sequence[UUID]) -> None:
        if ids[5] in those:
            with psycopg.connect(world.database.url, autocommit=True) as other:
                other.execute("SELECT pg_terminate_backend(%s, 5000)", pids[-1:])

    watching(monkeypatch, lose)
    for _ in range(30):
        async with world.conn() as conn:
            pids.append(conn.info.backend_pid)
            try:
                if await plan(conn, world.org) is None:
                    break
            except psycopg.OperationalError:
                continue
    (row,) = await invalidations(world.caller, world.service, only_set_aside=True)
    assert row.id == ids[5]
    assert await world.tasks("b") == {
        "queued": [f"b[2013-01-{day:02}]" for day in (1, 2, 3, 4, 5, 7, 8)]
    }


async def test_the_planning_lock_is_released_after_a_crash(
    world: World, monkeypatch: pytest.MonkeyPatch
) -> None:
    (id_,) = await changes(world, 1)
    dying(monkeypatch, id_)
    with pytest.raises(Crash):
        await world.plan()
    monkeypatch.undo()
    async with world.conn() as one, world.conn() as two:
        assert await plan(one, world.org) is not None
        assert await plan(two, world.org) is None
    locks = "SELECT FROM pg_locks WHERE locktype = 'advisory'"
    assert await world.rows(locks) == []
