"""Input rows visible to a SELECT: the mapped partitions, for any zone and type."""

from typing import Any

import pytest

from engine.errors import InvalidInput, TaskFailed
from engine.store.database import Database
from tests.support.workers import run_lease, sql_job, work
from tests.support.worlds import DAILY, World, source

NEW_YORK = {"dt": {"time": "day", "zone": "America/New_York", "start": "2013-01-01"}}
COUNT = "SELECT count(*) AS hours FROM flights"


async def _hours(database: Database, column: str, first: str) -> None:
    """A table of hourly flights over four days, with their local time in New York."""
    async with database.connection() as conn:
        await conn.execute(f"CREATE TABLE flights (id int, dt {column}, origin text)".encode())
        await conn.execute(
            f"""INSERT INTO flights
            SELECT i, (timestamptz '{first}' + i * interval '1 hour')
                {"AT TIME ZONE 'America/New_York'" if column != "timestamptz" else ""},
                CASE WHEN i % 2 = 0 THEN 'JFK' ELSE 'EWR' END
            FROM generate_series(0, 95) AS i""".encode()
        )


async def _made(world: World, table: str) -> list[tuple[Any, ...]]:
    return [tuple(row.values()) for row in await world.rows(f"SELECT * FROM {table} ORDER BY dt")]


@pytest.mark.parametrize("column", ["timestamptz", "timestamp"])
@pytest.mark.parametrize(("day", "hours"), [("2013-03-10", 23), ("2013-11-03", 25)])
async def test_a_day_with_a_clock_change_reads_all_its_hours(
    database: Database, column: str, day: str, hours: int
) -> None:
    await _hours(database, column, f"{day} 00:00 America/New_York")
    flights = source("flights", NEW_YORK)
    world = await World.made(
        database, flights, sql_job("daily", "flights", sql=COUNT, partitioning=NEW_YORK)
    )

    await world.changed("flights", day)
    await work(world)

    ((counted, made),) = await _made(world, "daily")
    assert (counted, str(made)) == (hours, day)


async def test_an_input_in_another_zone_is_read_by_overlapping_days(
    database: Database,
) -> None:
    await _hours(database, "timestamptz", "2013-02-13 00:00 UTC")
    world = await World.made(
        database,
        source("flights"),
        sql_job("daily", "flights", sql=COUNT, partitioning=NEW_YORK),
        sql_job(
            "own_hours",
            "flights",
            sql=f"{COUNT}, knockon_partition WHERE flights.dt >= dt_start AND flights.dt < dt_end",
            partitioning=NEW_YORK,
        ),
    )

    await world.changed("flights", "2013-02-13..2013-02-16")
    await work(world)

    assert dict(_by_day(await _made(world, "daily")))["2013-02-13"] == 48  # two days of UTC
    assert dict(_by_day(await _made(world, "own_hours")))["2013-02-13"] == 24


def _by_day(rows: list[tuple[Any, ...]]) -> list[tuple[str, Any]]:
    return [(str(row[-1]), row[0]) for row in rows]


async def test_dates_and_local_times_are_filtered_by_the_wall_clock_of_their_zone(
    database: Database,
) -> None:
    async with database.connection() as conn:
        await conn.execute("CREATE TABLE days (dt date)")
        await conn.execute("CREATE TABLE moments (dt timestamp)")
        await conn.execute("INSERT INTO days VALUES ('2013-02-12'), ('2013-02-13')")
        await conn.execute("INSERT INTO moments VALUES ('2013-02-12 23:59'), ('2013-02-13 00:00')")
    tokyo = {"dt": {"time": "day", "zone": "Asia/Tokyo", "start": "2013-01-01"}}
    world = await World.made(
        database,
        source("days", tokyo),
        source("moments", tokyo),
        sql_job(
            "daily",
            {"dataset": "days", "mapping": {"dt": {"from": "dt", "window": [0, 0]}}},
            "moments",
            sql="SELECT (SELECT array_agg(dt::text) FROM days) AS days,"
            " (SELECT array_agg(dt::text) FROM moments) AS moments",
            partitioning={"dt": {"time": "day", "zone": "UTC", "start": "2013-01-01"}},
        ),
    )

    await world.changed("days", "2013-02-13")
    await work(world)

    rows = await _made(world, "daily")
    assert [(str(dt), days, moments) for days, moments, dt in rows] == [
        (
            "2013-02-12",
            ["2013-02-12", "2013-02-13"],
            ["2013-02-12 23:59:00", "2013-02-13 00:00:00"],
        ),
        ("2013-02-13", ["2013-02-13"], ["2013-02-13 00:00:00"]),
    ]


async def test_products_ranges_and_keys_are_filtered_in_every_dimension(database: Database) -> None:
    await _hours(database, "timestamptz", "2013-02-13 00:00 UTC")
    cut = {
        "dt": {"time": "day", "start": "2013-02-13", "end": "2013-02-17"},
        "origin": {"dynamic": True},
        "number": {"range": 10, "column": "id"},
    }
    world = await World.made(
        database,
        source("flights", cut),
        sql_job("cells", "flights", sql="SELECT id FROM flights", partitioning=cut),
    )

    await world.changed("flights", "dt=2013-02-13/origin=JFK/number=10-19")
    await work(world)

    rows = await world.rows("SELECT * FROM cells ORDER BY id")
    assert [row["id"] for row in rows] == [10, 12, 14, 16, 18]
    assert {(str(row["dt"]), row["origin"]) for row in rows} == {("2013-02-13", "JFK")}


async def test_bounds_apply_even_if_all_of_an_input_is_read(database: Database) -> None:
    await _hours(database, "timestamptz", "2013-12-31 00:00 UTC")
    world = await World.made(
        database, source("flights", DAILY), sql_job("all", "flights", sql=COUNT, partitioning={})
    )

    await world.changed("flights")
    await work(world)

    assert await world.rows("SELECT * FROM all_flights".replace("all_flights", '"all"')) == [
        {"hours": 24}
    ]


async def test_the_last_partition_is_determined_at_the_claim(
    database: Database,
) -> None:
    await _hours(database, "timestamptz", "2013-02-13 00:00 UTC")
    world = await World.made(
        database,
        source("flights"),
        sql_job(
            "latest",
            {"dataset": "flights", "mapping": "last"},
            sql="SELECT min(dt) AS first FROM flights",
            partitioning={},
        ),
    )

    await world.changed("flights", "2013-02-13..2013-02-14")
    await work(world)

    (row,) = await world.rows("SELECT first::text FROM latest")
    assert row["first"] == "2013-02-14 00:00:00+00"


async def test_the_last_partition_may_be_missing_for_a_key(database: Database) -> None:
    """The last day exists for EWR only, so JFK has no row of a last day."""
    await _hours(database, "timestamptz", "2013-02-13 00:00 UTC")
    origin = {"origin": {"dynamic": True}}
    once = {"month": {"time": "month", "start": "2013-01", "end": "2013-02"}}
    async with database.connection() as conn:
        await conn.execute("CREATE TABLE airports (origin text)")
        await conn.execute("DELETE FROM flights WHERE (dt < '2013-02-14') <> (origin = 'JFK')")
    world = await World.made(
        database,
        source("flights", {"dt": {"time": "day", "start": "2013-01-01"}} | origin),
        source("airports", origin),
        sql_job(
            "latest",
            {"dataset": "flights", "mapping": {"origin": "origin", "month": "last"}},
            "airports",
            sql="SELECT count(*)::int AS flights FROM flights",
            partitioning=origin | once,
        ),
    )

    await world.changed("flights", "dt=2013-02-13/origin=JFK", "dt=2013-02-14/origin=EWR")
    await world.changed("airports", "JFK")
    await work(world)

    rows = await world.rows("SELECT origin, flights FROM latest ORDER BY origin")
    assert rows == [{"origin": "EWR", "flights": 12}, {"origin": "JFK", "flights": 0}]


async def test_percent_signs_semicolons_and_comments_are_preserved(
    database: Database,
) -> None:
    await _hours(database, "timestamptz", "2013-02-13 00:00 UTC")
    sql = "SELECT 7 % 4 AS three, '50%s; -- {no}' AS text FROM flights LIMIT 1; -- done\n ;"
    world = await World.made(database, source("flights"), sql_job("odd", "flights", sql=sql))

    await world.changed("flights", "2013-02-13")
    await work(world)

    (row,) = await world.rows("SELECT three, text FROM odd")
    assert row == {"three": 3, "text": "50%s; -- {no}"}


@pytest.mark.parametrize(
    "sql",
    [
        "SELECT 1 AS one) AS q; DROP TABLE flights; --",
        "SELECT 1 AS one; DROP TABLE flights",
        "WITH gone AS (DELETE FROM flights RETURNING id) SELECT id FROM gone",
        "SELECT 1 AS one) AS q), gone AS (DELETE FROM flights RETURNING id) SELECT (1",
        "DELETE FROM flights RETURNING id",
    ],
)
async def test_a_select_with_side_effects_is_rejected(
    database: Database, sql: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    # Earlier releases deployed such SQL.
    monkeypatch.setattr("engine.lineage.check_job.find_query_problem", lambda text: None)
    await _hours(database, "timestamptz", "2013-02-13 00:00 UTC")
    world = await World.made(database, source("flights"), sql_job("bad", "flights", sql=sql))
    await world.changed("flights", "2013-02-13")
    (lease,) = await world.claim()

    with pytest.raises(TaskFailed, match="refused"):
        await run_lease(world, lease)

    assert await world.rows("SELECT count(*) AS n FROM flights") == [{"n": 96}]


async def test_a_table_that_is_not_a_declared_input_is_rejected(database: Database) -> None:
    await _hours(database, "timestamptz", "2013-02-13 00:00 UTC")
    flights = {"dataset": "flights", "as": "f"}
    world = await World.made(
        database, source("flights"), sql_job("bad", flights, sql="SELECT id FROM flights")
    )
    await world.changed("flights", "2013-02-13")
    (lease,) = await world.claim()

    with pytest.raises(InvalidInput, match=r"reads flights, not declared .*\(f\)"):
        await run_lease(world, lease)


async def test_a_missing_table_is_named(database: Database) -> None:
    world = await World.made(database, source("flights"), sql_job("daily", "flights", sql=COUNT))
    await world.changed("flights", "2013-02-13")
    (lease,) = await world.claim()

    with pytest.raises(TaskFailed, match=r"no table public\.flights for dataset 'flights'"):
        await run_lease(world, lease)


async def test_an_input_that_only_triggers_needs_no_table(database: Database) -> None:
    await _hours(database, "timestamptz", "2013-02-13 00:00 UTC")
    nightly = source("nightly", source={"kind": "schedule", "cron": "0 2 * * *"})
    reads = sql_job("daily", "flights", "nightly", sql=COUNT)
    world = await World.made(database, source("flights"), nightly, reads)

    await world.changed("nightly", "2013-02-14")
    await work(world)

    ((counted, made),) = await _made(world, "daily")
    assert (counted, str(made)) == (24, "2013-02-14")


async def test_an_input_that_is_read_needs_a_table(database: Database) -> None:
    world = await World.made(database, source("flights"), sql_job("daily", "flights", sql=COUNT))
    await refuse_without_table(world)


async def test_an_input_that_is_followed_needs_a_table(database: Database) -> None:
    read = {"dataset": "flights", "cursor": {"column": "id", "type": "integer"}}
    follower = sql_job(
        "news",
        read,
        sql="SELECT 1 AS id",
        partitioning={},
        execution_strategy="PerUpdate",
        update_strategy="append",
        unique_key=["id"],
    )
    await refuse_without_table(await World.made(database, source("flights", {}), follower))


async def refuse_without_table(world: World) -> None:
    """Run a task; the table of the same name in another schema is not the input's."""
    async with world.conn() as conn:
        await conn.execute("CREATE SCHEMA raw; CREATE TABLE raw.flights (id int, dt date)")
    await world.changed("flights")
    (lease, *_) = await world.claim()
    with pytest.raises(
        TaskFailed, match=r"there is no table public\.flights for dataset 'flights'"
    ):
        await run_lease(world, lease)
