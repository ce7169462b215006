"""Jobs that follow new rows: the cursor only advances, and rows can be read again."""

from dataclasses import replace
from typing import Any

import pytest

from engine.model.task import Lease
from engine.store.database import Database
from tests.support.workers import run_lease, sql_job
from tests.support.worlds import World, source

ENDLESS = {"dt": {"time": "day", "start": "2013-01-01"}}
VALUES = {
    "integer": ("bigint", ["9", "10", "11"]),
    "timestamp": (
        "timestamptz",
        ["2013-02-13 05:00-05", "2013-02-13 05:00:00.25-05", "2014-01-01"],
    ),
    "text": ("text", ["B", "a", "b"]),
}


def _sum(kind: str, **more: Any) -> dict[str, Any]:
    events = {"dataset": "events", "cursor": {"column": "seq", "type": kind}}
    return sql_job(
        "seen",
        events,
        sql="SELECT id, amount FROM events",
        execution_strategy="PerUpdate",
        update_strategy="append",
        unique_key=["id"],
        **({"partitioning": {}} | more),
    )


async def _world(database: Database, kind: str = "integer", **more: Any) -> World:
    async with database.connection() as conn:
        column = VALUES[kind][0]
        await conn.execute(
            f"CREATE TABLE events (id int, seq {column}, amount int, dt date)".encode()
        )
    return await World.made(database, source("events"), _sum(kind, **more))


async def _arrive(world: World, row: int | None, seq: str, amount: int = 1) -> None:
    await world.rows(
        "INSERT INTO events VALUES (%s, %s, %s, '2013-02-13') RETURNING id", row, seq, amount
    )


async def _claimed(world: World) -> Lease:
    await world.changed("events", "2013-02-13", reason="arrival")
    (lease,) = await world.claim()
    return lease


async def _seen(world: World) -> list[int | None]:
    return [row["id"] for row in await world.rows("SELECT id FROM seen ORDER BY id")]


async def _cursor(world: World) -> str | None:
    rows = await world.rows("SELECT cursor_value FROM dataset_cursors")
    return rows[0]["cursor_value"] if rows else None


@pytest.mark.parametrize("kind", VALUES)
async def test_each_run_reads_the_rows_after_the_cursor(database: Database, kind: str) -> None:
    world = await _world(database, kind)
    first, second, third = VALUES[kind][1]
    await _arrive(world, 1, first)
    await run_lease(world, await _claimed(world))
    assert await _seen(world) == [1]

    await _arrive(world, 2, second)
    await world.rows("DELETE FROM seen RETURNING id")
    lease = await _claimed(world)
    await run_lease(world, lease)
    assert await _seen(world) == [2]

    await _arrive(world, 3, third)
    await world.rows("DELETE FROM seen RETURNING id")
    await run_lease(world, await _claimed(world))
    assert await _seen(world) == [3]


async def test_an_empty_input_moves_no_cursor(database: Database) -> None:
    world = await _world(database)

    await run_lease(world, await _claimed(world))

    assert (await _seen(world), await _cursor(world)) == ([], None)


async def test_the_cursor_never_moves_back(database: Database) -> None:
    world = await _world(database)
    await _arrive(world, 1, "100")
    await run_lease(world, await _claimed(world))
    await world.rows("DELETE FROM events RETURNING id")
    await _arrive(world, 2, "7")

    await run_lease(world, await _claimed(world))

    assert (await _seen(world), await _cursor(world)) == ([1], "100")


async def test_rereading_rows_does_not_move_the_cursor(database: Database) -> None:
    world = await _world(database)
    await _arrive(world, 1, "1")
    await run_lease(world, await _claimed(world))
    await world.rows("UPDATE events SET amount = 5 RETURNING id")
    await _arrive(world, 2, "2", amount=9)
    lease = await _claimed(world)

    again = replace(lease, row_filters=({"id": 1, "amount": {"lte": 5}}, {"id": {"in": [77, 78]}}))
    await run_lease(world, again)

    assert await world.rows("SELECT id, amount FROM seen") == [{"id": 1, "amount": 5}]
    assert await _cursor(world) == "1"


@pytest.mark.parametrize(
    "rows",
    [
        pytest.param({"note": 7}, id="a number for a text column"),
        pytest.param({"id": "first"}, id="a text for a number column"),
        pytest.param({"id": True}, id="a boolean for a number column"),
        pytest.param({"amount": {"in": ["many", "few"]}}, id="texts for a number column"),
        pytest.param({"dt": "2013-02-30"}, id="an impossible date"),
        pytest.param({"dt": 7}, id="a number for a date column"),
        pytest.param({"id": 2, "code": "7"}, id="an unknown column"),
    ],
)
async def test_a_filter_that_the_table_cannot_evaluate_selects_all_rows(
    database: Database, rows: dict[str, Any]
) -> None:
    world = await _world(database)
    async with database.connection() as conn:
        await conn.execute("ALTER TABLE events ADD note text")
    await _arrive(world, 1, "1")
    await run_lease(world, await _claimed(world))
    await world.rows("UPDATE events SET amount = 7 RETURNING id")
    await world.changed("events", rows=rows, reason="correction")
    (lease,) = await world.claim()

    await run_lease(world, lease)

    assert await world.rows("SELECT amount FROM seen") == [{"amount": 7}]
    assert await _cursor(world) == "1"


@pytest.mark.parametrize(
    "value", [0.1, {"in": [0.1, 0.3]}, {"lte": 0.1}, {"lt": 0.10000000001}, {"gte": 0.1, "lt": 0.2}]
)
async def test_a_filter_selects_rows_whose_column_has_rounded_the_value(
    database: Database, value: Any
) -> None:
    world = await _world(database)
    async with database.connection() as conn:
        await conn.execute("ALTER TABLE events ADD x real DEFAULT 0.1")
    await _arrive(world, 1, "1")
    await run_lease(world, await _claimed(world))
    await world.rows("UPDATE events SET amount = 7 RETURNING id")
    await world.changed("events", rows={"x": value}, reason="correction")
    (lease,) = await world.claim()

    await run_lease(world, lease)

    assert await world.rows("SELECT amount FROM seen") == [{"amount": 7}]


@pytest.mark.parametrize(
    ("filters", "seen"),
    [(({}, {"id": 1}), [1, 3]), ((None,), [1, 2, 3]), ((), [3])],
)
async def test_new_and_reread_rows_are_read_in_one_run(
    database: Database, filters: tuple[Any, ...], seen: list[int]
) -> None:
    world = await _world(database)
    await _arrive(world, 1, "1")
    await _arrive(world, 2, "2")
    await run_lease(world, await _claimed(world))
    await world.rows("DELETE FROM seen RETURNING id")
    await _arrive(world, 3, "3")

    await run_lease(world, replace(await _claimed(world), row_filters=filters))

    assert (await _seen(world), await _cursor(world)) == (seen, "3")


async def test_new_rows_determine_existing_and_new_partitions(database: Database) -> None:
    job = _sum("integer", partitioning=ENDLESS)
    job["config"]["sql"] = "SELECT id, dt FROM events"
    world = await _world(database)
    await world.deploy(source("events"), job)
    await _arrive(world, 1, "1")
    await world.rows("INSERT INTO events VALUES (2, 2, 1, '2013-03-01') RETURNING id")

    await run_lease(world, await _claimed(world))

    assert await _seen(world) == [1, 2]
    rows = await world.rows(
        "SELECT p.partition_key AS key FROM partition_versions p JOIN datasets d"
        " ON d.id = p.dataset_uuid WHERE d.name = 'seen' ORDER BY 1"
    )
    assert [row["key"] for row in rows] == ["2013-02-13", "2013-03-01"]


async def test_all_rows_are_reread_after_a_change_other_than_arrival(database: Database) -> None:
    world = await _world(database)
    await _arrive(world, 1, "1")
    await run_lease(world, await _claimed(world))
    await world.rows("UPDATE events SET amount = 7 RETURNING id")
    await world.changed("events", "2013-02-13", reason="correction")
    (lease,) = await world.claim()

    await run_lease(world, lease)

    assert await world.rows("SELECT amount FROM seen") == [{"amount": 7}]


@pytest.mark.parametrize("row", [1, None])
async def test_a_moved_row_changes_its_previous_partition(
    database: Database, row: int | None
) -> None:
    job = _sum("integer", partitioning=ENDLESS)
    job["config"]["sql"] = "SELECT id, dt FROM events"
    world = await _world(database)
    await world.deploy(source("events"), job)
    await _arrive(world, row, "1")
    await run_lease(world, await _claimed(world))
    before = await _versions(world)
    await world.rows("UPDATE events SET dt = '2013-02-20', seq = 2 RETURNING id")

    await run_lease(world, await _claimed(world))

    after = await _versions(world)
    assert after.keys() == {"2013-02-13", "2013-02-20"}
    assert after["2013-02-13"] > before["2013-02-13"]
    assert await _seen(world) == [row]


async def _chain(database: Database) -> World:
    """A table of rows not written by Knockon, adopted for the output that `seen` follows."""
    async with database.connection() as conn:
        await conn.execute("CREATE TABLE log (id int, seq bigint, amount int, dt date)")
        await conn.execute("INSERT INTO log VALUES (99, 1000, 1, '2013-02-20')")
    log = _sum("integer", partitioning=ENDLESS)
    log["name"] = "log"
    log["outputs"] = [{"dataset": "log", "partitioning": ENDLESS, "storage": {"adopt": True}}]
    log["config"]["sql"] = "SELECT id, seq, amount, dt FROM events"
    seen = _sum("integer")
    seen["inputs"][0]["dataset"] = "log"
    seen["config"]["sql"] = "SELECT id, amount FROM log"
    world = await _world(database)
    async with world.conn() as conn:
        await conn.execute("CREATE UNIQUE INDEX ON log (id)")
    await world.deploy(source("events"), log, seen)
    return world


async def _logged(world: World, row: int, seq: str, dt: str) -> Lease:
    """Run `log` for a new row; return the following task of `seen`."""
    await world.rows("INSERT INTO events VALUES (%s, %s, 1, %s) RETURNING id", row, seq, dt)
    await world.changed("events", dt, reason="arrival")
    (lease,) = await world.claim()
    await run_lease(world, lease)
    (following,) = await world.claim()
    return following


async def test_the_cursor_passes_over_no_rows_of_missing_partitions(database: Database) -> None:
    world = await _chain(database)
    await run_lease(world, await _logged(world, 1, "5", "2013-02-12"))
    assert (await _seen(world), await _cursor_of(world, "log")) == ([1], "5")

    await run_lease(world, await _logged(world, 2, "7", "2013-02-13"))

    assert (await _seen(world), await _cursor_of(world, "log")) == ([1, 2], "7")


async def test_the_cursor_passes_over_no_rows_of_partitions_built_since_the_claim(
    database: Database,
) -> None:
    world = await _chain(database)
    following = await _logged(world, 1, "5", "2013-02-12")
    for row, dt in ((2, "2013-02-13"), (3, "2013-02-12")):
        await world.rows("INSERT INTO events VALUES (%s, %s, 1, %s) RETURNING id", row, row + 5, dt)
    await world.changed("events", "2013-02-12", "2013-02-13", reason="arrival")
    (logging,) = await world.claim()
    await run_lease(world, logging)

    await run_lease(world, following)  # claimed before 2013-02-13 existed
    for lease in await world.claim():
        await run_lease(world, lease)

    assert (await _seen(world), await _cursor_of(world, "log")) == ([1, 2, 3], "8")


async def _cursor_of(world: World, dataset: str) -> str | None:
    rows = await world.rows(
        "SELECT c.cursor_value FROM dataset_cursors c JOIN datasets d ON d.id = c.dataset_uuid"
        " WHERE d.name = %s",
        dataset,
    )
    return rows[0]["cursor_value"] if rows else None


async def _versions(world: World) -> dict[str, Any]:
    rows = await world.rows(
        "SELECT p.partition_key, p.materialized_at FROM partition_versions p JOIN datasets d"
        " ON d.id = p.dataset_uuid WHERE d.name = 'seen'"
    )
    return {row["partition_key"]: row["materialized_at"] for row in rows}
