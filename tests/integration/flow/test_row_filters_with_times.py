"""Row filters with dates and times: planning and running select the same rows."""

from typing import Any

import pytest

from engine.flow.planning.audit import audit_all
from engine.store.database import Database
from tests.support.workers import sql_job, work
from tests.support.worlds import World, job, source


def _by(column: str, zone: str = "UTC") -> dict[str, Any]:
    return {"dt": {"time": "day", "zone": zone, "start": "2013-01-01", "column": column}}


async def _world(
    database: Database,
    reader: dict[str, Any],
    partitioning: dict[str, Any],
    at: str,
    kind: str = "timestamptz",
) -> World:
    """A world with a run of the reader on the only event."""
    async with database.connection() as conn:
        await conn.execute(f"CREATE TABLE events (id int, seq int, amount int, at {kind})".encode())
    events = source("events", partitioning)
    events["outputs"][0]["columns"] = ["id", "seq", "amount", "at"]
    world = await World.made(database, events, reader)
    await world.rows("INSERT INTO events VALUES (1, 1, 1, %s) RETURNING id", at)
    await world.changed("events", "2013-02-13" if partitioning else "*", reason="arrival")
    await work(world)
    assert await world.rows(f"SELECT amount FROM {reader['name']}") == [{"amount": 1}]
    return world


async def _correct(world: World, rows: dict[str, Any]) -> None:
    await world.rows("UPDATE events SET amount = 2 RETURNING id")
    await world.changed("events", rows=rows, columns=("amount",), reason="correction")
    await work(world)


def _seen(mapping: str = "all") -> dict[str, Any]:
    events = {
        "dataset": "events",
        "cursor": {"column": "seq", "type": "integer"},
        "mapping": mapping,
    }
    return sql_job(
        "seen",
        events,
        sql="SELECT id, amount FROM events",
        execution_strategy="PerUpdate",
        update_strategy="append",
        unique_key=["id"],
        partitioning={},
    )


@pytest.mark.parametrize(
    "rows",
    [
        {"at": "2013-02-13"},
        {"dt": "2013-02-13"},
        {"dt": {"gte": "2013-02-12", "lte": "2013-02-13"}},
        {"dt": {"in": ["2013-02-12", "2013-02-13"]}},
        {"at": {"gte": "2013-02-13T04:59:59.9", "lt": "2013-02-13T05:00:00.1"}},
    ],
)
async def test_a_corrected_day_is_read_again(database: Database, rows: dict[str, Any]) -> None:
    world = await _world(database, _seen(), _by("at"), "2013-02-13 05:00Z")
    await _correct(world, rows)
    assert await world.rows("SELECT amount FROM seen") == [{"amount": 2}]


@pytest.mark.parametrize("kind", ["timestamptz", "timestamp", "date"])
@pytest.mark.parametrize("partitioning", [{}, _by("at", "America/New_York")])
async def test_a_day_is_that_of_its_column(
    database: Database, kind: str, partitioning: dict[str, Any]
) -> None:
    world = await _world(database, _seen(), partitioning, "2013-02-13 22:00-05", kind)
    wrong = "2013-02-15" if kind == "timestamptz" else "2013-02-14"
    await _correct(world, {"at": wrong})
    assert await world.rows("SELECT amount FROM seen") == [{"amount": 1}]
    # In a column without a time dimension, the day is one in UTC.
    is_in_utc = kind == "timestamptz" and not partitioning
    await _correct(world, {"at": "2013-02-14" if is_in_utc else "2013-02-13"})
    assert await world.rows("SELECT amount FROM seen") == [{"amount": 2}]


async def test_a_domain_may_have_times(database: Database) -> None:
    async with database.connection() as conn:
        await conn.execute("CREATE DOMAIN moment AS timestamptz")
    world = await _world(database, _seen(), {}, "2013-02-13 05:00Z", "moment")
    await _correct(world, {"at": "2013-02-13"})
    assert await world.rows("SELECT amount FROM seen") == [{"amount": 2}]


@pytest.mark.parametrize("rows", [{"at": "2013-02-13"}, {"at": "2013-02-13T22:00"}])
async def test_a_filter_reaches_all_days_of_another_zone(
    database: Database, rows: dict[str, str]
) -> None:
    """22:00 on the 13th in New York, the zone of `events`, is on the 14th in UTC."""
    copy = sql_job(
        "copy",
        "events",
        sql="""
            SELECT e.id, e.amount, e.at FROM events AS e
            JOIN knockon_partition AS p ON e.at >= p.dt_start AND e.at < p.dt_end
        """,
        partitioning=_by("at"),
    )
    world = await _world(database, copy, _by("at", "America/New_York"), "2013-02-13 22:00-05")
    await _correct(world, rows)
    assert await world.rows("SELECT amount FROM copy") == [{"amount": 2}]


async def test_all_days_of_another_zone_stay_stale(database: Database) -> None:
    read = {"dataset": "a", "passes": {"at": ["at"]}}
    b = job("b", read, partitioning=_by("at"))
    world = await World.made(database, source("a", _by("at", "America/New_York")), b)
    await world.changed("a", "2013-02-13")
    await world.run()
    await world.changed("a", "2013-02-13", rows={"at": "2013-02-13T22:00"})
    await world.rows("DELETE FROM tasks WHERE status = 'queued' RETURNING id")
    async with world.conn() as conn:
        shown = (await audit_all(conn, world.org)).shown
    # By the column as wall time, and by instants.
    assert sorted(each.partition for each in shown) == ["2013-02-13", "2013-02-14"]
