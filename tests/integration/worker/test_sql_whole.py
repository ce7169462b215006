"""Full jobs: all partitions in one run, including newly discovered partitions."""

from typing import Any

import psycopg
import pytest
from psycopg.sql import SQL, Identifier

from engine.errors import InvalidPartition, TaskFailed
from engine.store.database import Database
from tests.support.workers import run_lease, sql_job
from tests.support.worlds import World, source

HOURLY = {"at": {"time": "hour", "zone": "America/New_York", "start": "2013-01-01T00"}}
CELLS = {
    "month": {"time": "month", "zone": "America/Havana", "column": "dt"},
    "origin": {"dynamic": True},
    "number": {"range": 10, "column": "id"},
}


async def _world(database: Database, partitioning: dict[str, Any], sql: str) -> World:
    async with database.connection() as conn:
        await conn.execute("CREATE TABLE flights (id int, at timestamptz, dt date, origin text)")
    full = sql_job(
        "all_of_it", "flights", sql=sql, execution_strategy="Full", partitioning=partitioning
    )
    return await World.made(database, source("flights", {}), full)


async def _run(world: World) -> None:
    await world.changed("flights")
    (lease,) = await world.claim()
    await run_lease(world, lease)


async def _partitions(world: World) -> dict[str, Any]:
    rows = await world.rows(
        "SELECT p.partition_key, p.row_count, p.materialized_at, p.bytes FROM partition_versions p"
        " JOIN datasets d ON d.id = p.dataset_uuid WHERE d.name = 'all_of_it' ORDER BY 1"
    )
    return {row["partition_key"]: (row["row_count"], row["materialized_at"]) for row in rows}


async def test_rows_determine_their_hour_even_if_it_is_repeated(database: Database) -> None:
    world = await _world(database, HOURLY, "SELECT id, at FROM flights")
    await world.rows(
        "INSERT INTO flights SELECT i, timestamptz '2013-11-03 00:00-04' + i * interval '20 min'"
        " FROM generate_series(0, 11) i RETURNING id"
    )

    await _run(world)

    counts = {key: count for key, (count, _) in (await _partitions(world)).items()}
    assert counts == {
        "2013-11-03T00": 3,
        "2013-11-03T01": 3,
        "2013-11-03T01-0500": 3,
        "2013-11-03T02": 3,
    }


async def test_rows_determine_their_window_of_any_grid(database: Database) -> None:
    grids = {
        "at": {"every": "30m", "zone": "America/New_York"},
        "half": {"cron": "0 0 1,15 * *", "zone": "America/New_York", "column": "dt"},
    }
    world = await _world(database, grids, "SELECT id, at, dt FROM flights")
    await world.rows(
        "INSERT INTO flights SELECT i, timestamptz '2013-11-03 01:00-04' + i * interval '20 min',"
        " date '2013-10-31' + i FROM generate_series(0, 5) i RETURNING id"
    )

    await _run(world)

    counts = {key: count for key, (count, _) in (await _partitions(world)).items()}
    assert counts == {
        "at=2013-11-03T01:00/half=2013-10-15": 1,
        "at=2013-11-03T01:00/half=2013-11-01": 1,
        "at=2013-11-03T01:30/half=2013-11-01": 1,
        "at=2013-11-03T01:00-0500/half=2013-11-01": 2,
        "at=2013-11-03T01:30-0500/half=2013-11-01": 1,
    }


async def test_only_differing_partitions_are_written_and_reported(database: Database) -> None:
    world = await _world(database, CELLS, "SELECT id, dt, origin FROM flights")
    await world.rows(
        "INSERT INTO flights VALUES (1, NULL, '2013-03-10', 'JFK'), (2, NULL, '2013-03-31', 'JFK'),"
        " (-1, NULL, '2013-03-01', 'JFK'), (3, NULL, '2013-04-01', 'EWR') RETURNING id"
    )
    await _run(world)
    await world.plan()  # invalidations of discovered partitions give them new versions
    before = await _partitions(world)
    places = await world.rows("SELECT id, ctid::text FROM all_of_it ORDER BY id")
    assert {key: count for key, (count, _) in before.items()} == {
        "month=2013-03/origin=JFK/number=0-9": 2,
        "month=2013-03/origin=JFK/number=-10--1": 1,
        "month=2013-04/origin=EWR/number=0-9": 1,
    }

    await world.rows("DELETE FROM flights WHERE id = 3 RETURNING id")
    await world.rows("UPDATE flights SET id = 5 WHERE id = 2 RETURNING id")
    await _run(world)
    after = await _partitions(world)

    changed = {key for key in after if after[key][1] != before[key][1]}
    assert changed == {
        "month=2013-03/origin=JFK/number=0-9",
        "month=2013-04/origin=EWR/number=0-9",
    }
    assert after["month=2013-04/origin=EWR/number=0-9"][0] == 0
    assert (await world.rows("SELECT id, ctid::text FROM all_of_it ORDER BY id"))[0] == places[0]

    await _run(world)
    assert await _partitions(world) == after


@pytest.mark.parametrize("origin", ["NULL", "'a/b'"])
async def test_a_row_outside_of_every_partition_is_an_error(
    database: Database, origin: str
) -> None:
    by_origin = {"origin": {"dynamic": True}}
    world = await _world(database, by_origin, f"SELECT id, {origin} AS origin FROM flights")
    await world.rows("INSERT INTO flights VALUES (1, NULL, NULL, 'JFK') RETURNING id")

    with pytest.raises((TaskFailed, InvalidPartition), match="origin"):
        await _run(world)


async def test_the_select_must_return_the_partition_columns(database: Database) -> None:
    world = await _world(database, CELLS, "SELECT id, dt FROM flights")

    with pytest.raises(TaskFailed, match=r"must give column 'origin': .* several partitions"):
        await _run(world)


_STYLES = ["DateStyle = 'German'", "IntervalStyle = 'iso_8601'", "bytea_output = 'escape'"]


async def test_keys_do_not_depend_on_the_defaults_of_the_database(database_url: str) -> None:
    with psycopg.connect(database_url, autocommit=True) as conn:
        for style in _STYLES:
            name = Identifier(conn.info.dbname)
            conn.execute(SQL("ALTER DATABASE {} SET {}").format(name, SQL(style)))
    database = await Database.open(database_url)
    partitioning = {
        "at": {"time": "hour", "zone": "UTC"},
        "lasts": {"dynamic": True},
        "code": {"dynamic": True},
    }
    select = (
        "SELECT at, interval '1 year 2 days' AS lasts, convert_to('a', 'UTF8') AS code FROM flights"
    )
    world = await _world(database, partitioning, select)
    await world.rows("INSERT INTO flights (at) VALUES ('2013-11-03 05:00Z') RETURNING id")

    await _run(world)

    assert list(await _partitions(world)) == [r"at=2013-11-03T05/lasts=1 year 2 days/code=\x61"]
    await database.close()
