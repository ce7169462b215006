"""PerUpdate jobs: rows read, movement of their cursors, and discovered partitions."""

from typing import Any

import msgspec
import pytest

from engine.errors import InvalidInput
from engine.flow.execution.cancel import cancel
from engine.flow.execution.fail import fail
from engine.flow.ingestion.ingest import ingest
from engine.flow.planning.set_aside import replay
from engine.model.event import Batch, Delivery, Received, SourceEvent
from engine.model.task import Lease, Output
from engine.store.database import Database
from tests.support.worlds import DAILY, World, job, source

FOLLOWED = {"dataset": "a", "cursor": {"column": "id", "type": "integer"}}


def follower(partitioning: dict[str, object] | None = None) -> dict[str, object]:
    """A job that appends new rows."""
    return job(
        "log",
        FOLLOWED,
        partitioning=partitioning or {},
        execution_strategy="PerUpdate",
        update_strategy="append",
        unique_key=["id"],
    )


@pytest.fixture
async def world(database: Database) -> World:
    return await World.made(database, source("a", {}), follower())


async def end(world: World, lease: Lease, cursor: str | None = None) -> None:
    (source_id,) = (each.dataset for each in lease.job.inputs)
    await world.finish(lease, cursors={} if cursor is None else {source_id: cursor})


async def stored(world: World) -> list[str]:
    rows = await world.rows("SELECT cursor_value FROM dataset_cursors")
    return [row["cursor_value"] for row in rows]


async def test_many_arrivals_are_one_task_for_the_new_rows(world: World) -> None:
    for _ in range(5):
        await world.changed("a", reason="arrival")
    (lease,) = await world.claim()
    assert lease.row_filters == ({},)
    assert lease.cursors == {}
    await end(world, lease, "100")
    await world.changed("a", reason="arrival")
    (lease,) = await world.claim()
    assert list(lease.cursors.values()) == ["100"]


async def test_a_cursor_never_moves_back(world: World) -> None:
    for value, expected in (("9", "9"), ("100", "100"), ("20", "100")):
        await world.changed("a", reason="arrival")
        (lease,) = await world.claim()
        await end(world, lease, value)
        assert await stored(world) == [expected]


async def test_a_run_claimed_before_a_deploy_moves_the_cursor_of_the_deployed_job(
    world: World,
) -> None:
    await world.changed("a", reason="arrival")
    await end(world, (await world.claim())[0], "50")
    await world.changed("a", reason="arrival")
    (lease,) = await world.claim()
    await world.deploy(source("a", {}), follower(), job("more", "log"))
    await end(world, lease, "100")
    assert await stored(world) == ["100"]
    await world.deploy(source("a", {}), follower())
    await world.changed("a", reason="arrival")
    assert [list(each.cursors.values()) for each in await world.claim()] == [["100"]]


async def test_rereading_rows_before_the_cursor_does_not_move_it(world: World) -> None:
    await world.changed("a", reason="arrival")
    await end(world, (await world.claim())[0], "100")
    await world.changed("a", rows={"id": {"gte": 5, "lte": 7}}, reason="correction")
    (lease,) = await world.claim()
    assert lease.row_filters == ({"id": {"gte": 5, "lte": 7}},)
    await end(world, lease)
    assert await stored(world) == ["100"]


async def test_a_first_run_for_some_rows_reads_all_rows(world: World) -> None:
    """The earlier arrival, whose task was canceled, would otherwise count as read."""
    await world.changed("a", reason="arrival")
    task = await world.task("log[*]", "queued")
    async with world.conn() as conn:
        await cancel(conn, world.org, task["id"])
    await world.changed("a", rows={"id": 1}, reason="correction")
    (lease,) = await world.claim()
    assert lease.row_filters == (None,)


async def test_new_rows_and_corrected_ones_are_one_task(world: World) -> None:
    await world.changed("a", reason="arrival")
    await world.changed("a", rows={"id": 5}, reason="correction")
    (lease,) = await world.claim()
    assert sorted(lease.row_filters, key=str) == [{"id": 5}, {}]


async def test_a_change_of_unknown_rows_reads_all_rows(world: World) -> None:
    await world.changed("a", reason="change")
    (lease,) = await world.claim()
    assert lease.row_filters == (None,)


async def test_a_cursor_value_of_another_type_is_rejected(world: World) -> None:
    await world.changed("a", reason="arrival")
    await end(world, (await world.claim())[0], "100")
    await world.changed("a", reason="arrival")
    (lease,) = await world.claim()
    with pytest.raises(InvalidInput, match="integer"):
        await end(world, lease, "yesterday")


async def test_a_discovered_partition_triggers_its_readers(database: Database) -> None:
    daily = {"dt": {"time": "day", "start": "2013-01-01"}}
    world = await World.made(
        database, source("a", {}), follower(daily), job("b", "log", partitioning=daily)
    )
    await world.changed("a", reason="arrival")
    (lease,) = await world.claim()
    assert lease.partitions == ()
    await world.complete(lease, Output("log", "2013-02-13"))
    await world.plan()
    assert await world.run() == ["b[2013-02-13]"]


async def test_outputs_outside_of_the_task_are_rejected(database: Database) -> None:
    world = await World.made(database, source("a", DAILY), job("b", "a"))
    await world.changed("a", "2013-02-13")
    (lease,) = await world.claim()
    for wrong in (Output("b", "2013-02-14"), Output("other", "2013-02-13")):
        with pytest.raises(InvalidInput, match="reported"):
            await world.complete(lease, wrong)
    await world.finish(lease)


def _finder(**more: Any) -> dict[str, Any]:
    """A follower that discovers its partitions in the rows read."""
    rows = {"dataset": "log", "cursor": {"column": "id", "type": "integer"}, "mapping": "all"}
    return job(
        "found",
        rows,
        *more.pop("also", ()),
        partitioning={"k": {"dynamic": True}},
        execution_strategy="PerUpdate",
        update_strategy="append",
        unique_key=["id"],
        **more,
    )


async def test_a_new_version_of_a_job_with_discovered_partitions_is_built(
    database: Database,
) -> None:
    world = await World.made(database, source("log", {}), _finder())
    await world.changed("log", reason="arrival")
    await world.run()
    await world.deploy(source("log", {}), _finder(config={"kwargs": {"other": 1}}))
    assert (await world.tasks("found"))["queued"] == ["found[*]"]


async def test_a_job_with_discovered_partitions_and_no_input_data_is_not_built(
    database: Database,
) -> None:
    world = await World.made(database, source("log", {}), _finder())
    assert await world.tasks() == {}


async def test_a_job_with_discovered_partitions_waits_for_all_inputs(database: Database) -> None:
    also = [{"dataset": "other", "mapping": "all"}]
    world = await World.made(
        database, source("log", {}), job("other", "log", partitioning={}), _finder(also=also)
    )
    await world.changed("log", reason="arrival")
    assert await world.run() == ["other[*]", "found[*]"]
    read = await world.rows("SELECT DISTINCT input_dataset_uuid FROM task_inputs")
    assert len(read) == 2


@pytest.mark.parametrize("count", [3, 17])
async def test_late_rows_are_read_for_any_number_of_row_filters(world: World, count: int) -> None:
    await _followed(world)
    for n in range(count):
        await world.change("a", reason="arrival", rows={"id": n})
    await world.plan()
    (lease,) = await world.claim()
    assert lease.row_filters != ({},)


async def test_late_rows_in_a_batch_with_new_ones_are_read(world: World) -> None:
    await _followed(world)
    new = SourceEvent(dataset="a", partitions=("*",), reason="arrival")
    late = msgspec.structs.replace(new, rows={"id": 7})
    received = tuple(
        Received.one(event, Delivery("s", str(n), b"")) for n, event in enumerate([new, late])
    )
    async with world.conn() as conn:
        await ingest(conn, world.org, Batch(consumer="k", received=received))
    await world.plan()
    (lease,) = await world.claim()
    assert sorted(map(str, lease.row_filters)) == ["{'id': 7}", "{}"]


DAYS = {"dt": {"time": "day", "start": "2013-01-01"}}
DROPPED = {
    "on a new partition": {"partitions": ("2013-01-09",), "rows": {"region": "EU"}},
    "on a changed column": {"columns": ("region",), "rows": {"region": "EU"}},
    "on an unknown column": {"rows": {"Region": "EU"}},
}


async def _daily(database: Database) -> World:
    """`log` follows a source partitioned by day, and has read all rows up to 100."""
    days = source("a", DAYS)
    days["outputs"][0]["columns"] = ["dt", "id", "region"]
    log = follower() | {"inputs": [FOLLOWED | {"mapping": "all"}]}
    world = await World.made(database, days, log)
    await world.changed("a", "2013-01-02")
    (lease,) = await world.claim()
    await end(world, lease, "100")
    return world


@pytest.mark.parametrize("scope", DROPPED.values(), ids=DROPPED)
async def test_all_rows_are_read_if_the_conditions_of_an_arrival_are_dropped(
    database: Database, scope: dict[str, Any]
) -> None:
    world = await _daily(database)
    late = SourceEvent(dataset="a", reason="arrival", **scope)
    received = Received.one(late, Delivery("kafka/t/0", "1"))
    async with world.conn() as conn:
        done = await ingest(conn, world.org, Batch(consumer="k", received=(received,)))
    assert done.rejections == ()
    await world.plan()
    (lease,) = await world.claim()
    assert lease.row_filters == (None,)


async def test_all_rows_are_read_if_an_arrival_with_conditions_is_replayed_as_a_whole(
    database: Database,
) -> None:
    world = await _daily(database)
    (id_,) = (await world.change("a", reason="arrival", rows={"region": "EU"})).invalidations
    impossible = "UPDATE data_invalidations SET partition_key = 'no day' WHERE id = %s"
    await world.rows(f"{impossible} RETURNING id", id_)
    await world.plan()
    async with world.conn() as conn:
        assert await replay(conn, world.org, [id_], whole=True) == [id_]
    await world.plan()
    (lease,) = await world.claim()
    assert lease.row_filters == (None,)


async def test_appended_late_rows_are_read_by_the_next_follower(chain: World) -> None:
    await chain.changed("a", reason="arrival", rows={"id": 7})
    (lease,) = await chain.claim()
    assert lease.row_filters == ({"id": 7},)
    await chain.finish(lease)
    (lease,) = await chain.claim()
    assert lease.row_filters != ({},)


@pytest.fixture
async def chain(database: Database) -> World:
    """`log2` follows `log`, and both have read all rows up to 100."""
    second = follower() | {"name": "log2", "inputs": [FOLLOWED | {"dataset": "log"}]}
    second["outputs"] = [{"dataset": "log2", "partitioning": {}}]
    world = await World.made(database, source("a", {}), follower(), second)
    await _followed(world)
    await _followed(world, "log")
    return world


async def test_rows_reported_as_added_are_read_by_the_next_follower_alone(chain: World) -> None:
    await chain.changed("a", reason="arrival")
    (lease,) = await chain.claim()
    await chain.complete(lease, Output("log", "*", rows_only_added=True))
    (lease,) = await chain.claim()
    assert (lease.job.name, lease.row_filters) == ("log2", ({},))


async def test_all_rows_are_read_after_a_run_that_may_have_updated_some(chain: World) -> None:
    await chain.changed("a", reason="arrival")
    (lease,) = await chain.claim()
    await chain.complete(lease, Output("log", "*"))
    (lease,) = await chain.claim()
    assert (lease.job.name, lease.row_filters) == ("log2", (None,))


async def test_all_rows_are_read_after_an_attempt_that_may_have_updated_some(
    chain: World,
) -> None:
    await chain.changed("a", reason="arrival")
    (lease,) = await chain.claim()
    async with chain.conn() as conn:
        await fail(conn, chain.org, lease, "boom")
    await chain.rows("UPDATE tasks SET next_retry_at = NULL RETURNING id")
    (lease,) = await chain.claim()
    await chain.complete(lease, Output("log", "*", rows_only_added=True))
    (lease,) = await chain.claim()
    assert (lease.job.name, lease.row_filters) == ("log2", (None,))


async def _followed(world: World, dataset: str = "a") -> None:
    """Record a run that has read all rows up to 100."""
    if dataset == "a":
        await world.changed("a", reason="arrival")
    (lease,) = await world.claim()
    await world.finish(lease, cursors={lease.job.inputs[0].dataset: "100"})
