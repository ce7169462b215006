"""Jobs that follow the output of another job: new rows are read once, and updated rows again."""

from typing import Any

import pytest

from engine.flow.execution.cancel import cancel
from engine.flow.planning.audit import StalePartition, audit_all
from engine.model.task import Lease
from engine.store.database import Database
from tests.support.workers import run_lease, sql_job, work
from tests.support.worlds import World, source

DAY = "2013-02-13"
DAILY = {"dt": {"time": "day", "start": "2013-02-13", "end": "2013-02-20"}}
DAYS: dict[str, Any] = {"partitioning": DAILY}
APPEND: dict[str, Any] = {"update_strategy": "append", "unique_key": ["id"], "partitioning": {}}


def _reading(name: str, followed: str, *inputs: str, sql: str, **more: Any) -> dict[str, Any]:
    """A job that follows a dataset by the column `seq`."""
    cursor = {"dataset": followed, "cursor": {"column": "seq", "type": "integer"}}
    settings = APPEND | {"execution_strategy": "PerUpdate"} | more
    return sql_job(name, cursor, *inputs, sql=sql, **settings)


def _chain(**more: Any) -> list[dict[str, Any]]:
    """`last` follows `seen`, and `seen` follows `events`."""
    return [
        _reading("seen", "events", sql="SELECT id, seq, code, dt FROM events", **more),
        _reading("last", "seen", sql="SELECT id, seq, code, dt FROM seen", **more),
    ]


async def _world(database: Database, *jobs: dict[str, Any]) -> World:
    async with database.connection() as conn:
        await conn.execute("CREATE TABLE events (id int, seq bigint, code text, dt date)")
        await conn.execute("CREATE TABLE names (code text, name text)")
    events = source("events")
    events["outputs"][0]["columns"] = ["id", "seq", "code", "dt"]
    sources = events, source("names", {})
    world = await World.made(database, *sources, *jobs)
    await _arrive(world, 1, 1)
    await work(world)
    return world


async def _arrive(world: World, row: int, seq: int, code: str = "a") -> None:
    insert = "INSERT INTO events VALUES (%s, %s, %s, '2013-02-13') RETURNING id"
    await world.rows(insert, row, seq, code)
    await world.changed("events", DAY, reason="arrival")


async def _run(world: World, name: str) -> Lease:
    """Run the only task, which belongs to this job."""
    (lease,) = await world.claim()
    assert lease.job.name == name
    await run_lease(world, lease)
    return lease


async def _stale(world: World) -> list[StalePartition]:
    async with world.conn() as conn:
        return (await audit_all(conn, world.org)).shown


@pytest.mark.parametrize("partitioning", [{}, DAILY], ids=["whole", "daily"])
async def test_added_rows_are_the_only_ones_read_down_the_chain(
    database: Database, partitioning: dict[str, Any]
) -> None:
    world = await _world(database, *_chain(partitioning=partitioning))
    await _arrive(world, 2, 2)

    assert (await _run(world, "seen")).row_filters == ({},)
    assert (await _run(world, "last")).row_filters == ({},)
    assert await world.rows("SELECT id FROM last ORDER BY 1") == [{"id": 1}, {"id": 2}]


@pytest.mark.parametrize("partitioning", [{}, DAILY], ids=["whole", "daily"])
async def test_a_row_updated_by_a_new_row_with_its_key_is_read_again(
    database: Database, partitioning: dict[str, Any]
) -> None:
    """The next job follows a column that the update does not change."""
    seen, last = _chain(partitioning=partitioning)
    last["inputs"][0]["cursor"]["column"] = "id"
    world = await _world(database, seen, last)
    await _arrive(world, 1, 2, "b")

    assert (await _run(world, "seen")).row_filters == ({},)
    assert (await _run(world, "last")).row_filters == (None,)
    assert await world.rows("SELECT code FROM last") == [{"code": "b"}]
    assert await _stale(world) == []


async def test_a_row_updated_for_an_arrival_in_another_input_is_read_again(
    database: Database,
) -> None:
    named = _reading(
        "named",
        "events",
        "names",
        sql="SELECT e.id, e.seq, n.name FROM events AS e LEFT JOIN names AS n USING (code)",
    )
    world = await _world(
        database, named, _reading("last", "named", sql="SELECT id, seq, name FROM named")
    )
    await world.rows("INSERT INTO names VALUES ('a', 'A') RETURNING code")
    await world.changed("names", reason="arrival")
    await work(world)

    assert await world.rows("SELECT name FROM last") == [{"name": "A"}]


async def test_a_total_updated_by_a_full_run_is_read_again(database: Database) -> None:
    """An arrival adds a row to `events`, and changes the only row of `totals`."""
    totals = sql_job(
        "totals",
        "events",
        sql="SELECT 1 AS id, 1 AS seq, count(*)::int AS n FROM events",
        **APPEND,
        execution_strategy="Full",
    )
    world = await _world(
        database, totals, _reading("last", "totals", sql="SELECT id, seq, n FROM totals")
    )
    await _arrive(world, 2, 2)
    await work(world)

    assert await world.rows("SELECT n FROM last") == [{"n": 2}]


async def test_an_old_row_added_by_an_update_upstream_is_read(database: Database) -> None:
    """The run of `chosen` on all rows only adds a row, which lies before the cursor of `last`."""
    seen, _ = _chain()
    chosen = _reading("chosen", "seen", sql="SELECT id, seq FROM seen WHERE code = 'b'")
    last = _reading("last", "chosen", sql="SELECT id, seq FROM chosen")
    last["inputs"][0]["cursor"]["column"] = "id"
    world = await _world(database, seen, chosen, last)
    await _arrive(world, 2, 2, "b")
    await work(world)
    await _arrive(world, 1, 3, "b")
    await work(world)

    assert await world.rows("SELECT id FROM last ORDER BY 1") == [{"id": 1}, {"id": 2}]


async def test_rows_updated_after_the_cancellation_of_the_next_run_stay_unread(
    database: Database,
) -> None:
    """A later run on new rows does not read the update."""
    seen, last = _chain()
    last["inputs"][0]["cursor"]["column"] = "id"
    world = await _world(database, seen, last)
    await _arrive(world, 1, 2, "b")
    task = await world.task("last[*]", "blocked")
    async with world.conn() as conn:
        await cancel(conn, world.org, task["id"])
    await _run(world, "seen")
    await _arrive(world, 2, 3)
    await work(world)

    assert await world.rows("SELECT code FROM last WHERE id = 1") == [{"code": "a"}]
    (left,) = await _stale(world)
    assert (left.dataset, [reason.rule for reason in left.reasons]) == ("last", ["rows not read"])
    await world.changed("last", reason="manual")
    await work(world)
    assert await world.rows("SELECT code FROM last WHERE id = 1") == [{"code": "b"}]
    assert await _stale(world) == []


async def test_rows_changed_beyond_the_event_of_the_run_are_read_again(
    database: Database,
) -> None:
    """The run for row 1 also builds from the change of row 2, whose own run was canceled."""
    kept = sql_job("kept", "events", sql="SELECT id, seq, code, dt FROM events", **DAYS)
    last = _reading("last", "kept", sql="SELECT id, seq, code FROM kept")
    world = await _world(database, kept, last)
    await _arrive(world, 2, 2)
    await work(world)
    await world.rows("UPDATE events SET code = 'b' RETURNING id")
    await world.changed("events", DAY, rows={"id": 2}, reason="correction")
    task = await world.task(f"kept[{DAY}]", "queued")
    async with world.conn() as conn:
        await cancel(conn, world.org, task["id"])
    await world.changed("events", DAY, rows={"id": 1}, reason="correction")

    await _run(world, "kept")
    await _run(world, "last")

    assert await world.rows("SELECT code FROM last") == [{"code": "b"}] * 2


async def test_a_row_moved_to_another_partition_is_read_again(database: Database) -> None:
    world = await _world(database, *_chain(partitioning=DAILY))
    await world.rows("INSERT INTO events VALUES (1, 2, 'a', '2013-02-14') RETURNING id")
    await world.changed("events", "2013-02-14", reason="arrival")

    await _run(world, "seen")

    assert (await _run(world, "last")).row_filters == (None,)
    assert await world.rows("SELECT dt::text FROM last") == [{"dt": "2013-02-14"}]
