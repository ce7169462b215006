"""Large sets of partitions as conditions: PostgreSQL selects the same rows as for single keys."""

from collections.abc import Sequence
from itertools import product
from random import Random
from typing import Any

import pytest
from psycopg import sql

from engine.partitions import PartitionSpace
from engine.store.database import Connection, Database
from engine.worker.operators.sql.parts import key_of, part_of
from engine.worker.operators.sql.predicates import within
from engine.worker.operators.sql.tables import Table
from tests.property.partitions.windows import GRIDS, spec_of

HAVANA = {"zone": "America/Havana"}
"""Its clocks go forward from midnight to one o'clock, and back from one o'clock to midnight."""
TROLL = {"zone": "Antarctica/Troll"}
"""Its clocks go back from three o'clock to one: the window from two ends before its start."""
DAYS = "SELECT date '2013-01-01' + i FROM generate_series(0, 799) AS i"
HOURS = (
    "SELECT timestamptz '2013-10-20 00:00 America/Havana' + i * interval '30 minutes'"
    " FROM generate_series(0, 1999) AS i"
)
LOCAL_HOURS = (
    "SELECT timestamp '2013-10-20 00:00' + i * interval '30 minutes'"
    " FROM generate_series(0, 1999) AS i"
)
CHANGES = """SELECT timestamptz '2013-01-01 UTC' + d * interval '1 day' + i * interval '7 minutes'
    FROM unnest(ARRAY[67, 68, 86, 89, 95, 96, 277, 278, 298, 299, 305, 306]) AS d,
        generate_series(0, 205) AS i"""
NUMBERS = "SELECT i FROM generate_series(-3000, 3000) AS i"


def _alternating(space: PartitionSpace, text: str) -> list[str]:
    return list(space.keys(space.parse(text)))[::2]


@pytest.mark.parametrize(
    ("dimension", "text", "kind", "values"),
    [
        ({"time": "day", **HAVANA}, "2013-01-10..2014-06-30", "date", DAYS),
        ({"time": "day", **HAVANA}, "2013-01-10..2014-06-30", "timestamp with time zone", DAYS),
        ({"time": "hour", **HAVANA}, "2013-10-21T00..2013-11-20T23", "timestamptz", HOURS),
        ({"time": "hour", **HAVANA}, "2013-10-21T00..2013-11-20T23", "timestamp", LOCAL_HOURS),
        ({"time": "hour", **TROLL}, "2013-10-21T00..2013-11-20T23", "timestamp", LOCAL_HOURS),
        ({"range": 10}, "-2000--1991..1990-1999", "integer", NUMBERS),
        ({"range": 1}, "0-0..300-300", "numeric", NUMBERS),
    ],
)
async def test_scattered_windows_select_the_rows_of_each(
    database: Database, dimension: dict[str, Any], text: str, kind: str, values: str
) -> None:
    space = PartitionSpace.from_spec({"k": dimension})
    keys = _alternating(space, text)
    async with database.connection() as conn:
        table = await _table(conn, kind, values)
        expected = set[str]()
        for key in keys:
            expected |= set(await _selected(conn, space, table, [key]))
        found = await _selected(conn, space, table, keys)
        open_end = await _selected(conn, space, table, [*keys, f"..{keys[0]}", f"{keys[-1]}.."])

    assert len(found) == len(set(found))
    assert set(found) == expected
    assert len(open_end) > len(found)


@pytest.mark.parametrize("zone", [HAVANA, TROLL])
async def test_adjacent_windows_select_the_rows_of_each(
    database: Database, zone: dict[str, str]
) -> None:
    """Each row is in one window, also in the hours that a clock repeats."""
    space = PartitionSpace.from_spec({"k": {"time": "hour", **zone}})
    day = "2013-11-03" if zone is HAVANA else "2013-10-27"
    keys = list(space.keys(space.parse(f"{day}T00..{day}T05")))
    async with database.connection() as conn:
        table = await _table(conn, "timestamp", LOCAL_HOURS)
        rows = {key: await _selected(conn, space, table, [key]) for key in keys}
        everything = [row for selected in rows.values() for row in selected]
        assert len(everything) == len(set(everything)) == 12
        for first in range(len(keys)):
            for end in range(first + 1, len(keys) + 1):
                found = await _selected(conn, space, table, keys[first:end])
                expected = [row for key in keys[first:end] for row in rows[key]]
                assert sorted(found) == sorted(expected), keys[first:end]


@pytest.mark.parametrize("grain", ["hour", "day", "week", "month", *GRIDS])
async def test_rows_are_assigned_to_the_partition_that_selects_them(
    database: Database, grain: str
) -> None:
    """On all days on which these clocks change, and of instants to the window of the instant."""
    zones = ("America/Havana", "Antarctica/Troll", "Australia/Lord_Howe")
    async with database.connection() as conn:
        for zone, kind in product(zones, ("timestamptz", "timestamp", "date")):
            space = PartitionSpace.from_spec({"k": spec_of(grain) | {"zone": zone}})
            table = await _table(conn, kind, CHANGES)
            part = part_of(space, table, "s")
            query = sql.SQL("SELECT {} AS part, k FROM scattered AS s").format(part)
            assigned: dict[str, set[Any]] = {}
            for row in await (await conn.execute(query)).fetchall():
                assigned.setdefault(key_of(space, row["part"]), set()).add(row["k"])
            for key, values in assigned.items():
                condition = within(space.parse(key), table)
                query = sql.SQL("SELECT k FROM scattered WHERE {}").format(condition)
                rows = await (await conn.execute(query)).fetchall()
                assert {row["k"] for row in rows} == values
                window = space.values(key)["k"]
                if kind == "timestamptz":
                    assert all(window.start <= value < window.end for value in values)
            await conn.execute("DROP TABLE scattered")


@pytest.mark.parametrize("kind", ["text", "character(6)", "character varying(6)"])
async def test_many_keys_select_their_rows(database: Database, kind: str) -> None:
    odd = ['"', "\\", "{", "NULL", "'", "a b", "%s"]
    keys = [*odd, *(f"k{i}" for i in range(0, 1000, 2))]
    space = PartitionSpace.from_spec({"k": {"dynamic": True}})
    values = "SELECT 'k' || i FROM generate_series(0, 999) AS i"
    async with database.connection() as conn:
        table = await _table(conn, kind, values)
        for key in odd:
            await conn.execute("INSERT INTO scattered VALUES (%s)", [key])
        chosen = space.from_keys(keys)
        found = await _matching(conn, within(chosen, table))
        others = await _matching(conn, within(space.universe - chosen, table))

    assert set(found) == set(keys)
    assert set(others) == {f"k{i}" for i in range(1, 1000, 2)}


@pytest.mark.parametrize(
    ("kind", "grain"),
    [
        ("date", "day"),
        ("timestamp with time zone", "hour"),
        ("timestamp without time zone", "hour"),
    ],
)
async def test_many_products_select_the_rows_of_each(
    database: Database, kind: str, grain: str
) -> None:
    """Each window exists with its own keys, across the hour that a clock repeats."""
    space = PartitionSpace.from_spec(
        {"origin": {"static": ["a", "b", "c"]}, "dt": {"time": grain, **HAVANA}, "n": {"range": 5}}
    )
    table = Table("public", "products", {"origin": "text", "dt": kind, "n": "integer"})
    first = "2013-11-01T00" if grain == "hour" else "2013-11-01"
    middle = "2013-11-03T23" if grain == "hour" else "2013-11-05"
    last = "2013-11-04T23" if grain == "hour" else "2013-12-31"
    everything = space.keys(space.parse(f"dt={first}..{last}/n=0-4..15-19"))
    keys = Random(7).sample(list(everything), 200)
    async with database.connection() as conn:
        await conn.execute(
            f"CREATE TABLE products (id serial, origin text, dt {kind}, n int)".encode()
        )
        await conn.execute(
            """INSERT INTO products (origin, dt, n)
            SELECT o, timestamptz '2013-10-31 22:00 America/Havana' + i * interval '30 minutes', n
            FROM unnest(ARRAY['a', 'b', 'c', 'd']) AS o, generate_series(0, 250) AS i,
                generate_series(-1, 20, 3) AS n"""
        )
        expected = set[int]()
        for key in keys:
            expected |= set(await _ids(conn, within(space.parse(key), table)))
        chosen = space.from_keys(keys)
        found = await _ids(conn, within(chosen, table))
        others = await _ids(conn, sql.SQL("({}) IS NOT TRUE").format(within(chosen, table)))
        more = await _ids(conn, within(chosen | space.parse(f"dt={middle}.."), table))
        (row,) = await (await conn.execute("SELECT count(*) AS n FROM products")).fetchall()

    assert len(chosen.boxes) > 16
    assert len(found) > 50
    assert set(found) == expected
    assert len(found) + len(others) == row["n"]
    assert set(more) > expected


async def test_products_in_hours_that_a_clock_repeats_select_the_rows_of_each(
    database: Database,
) -> None:
    hour = {"time": "hour", **TROLL}
    hours = PartitionSpace.from_spec({"dt": hour})
    space = PartitionSpace.from_spec(
        {"origin": {"static": ["a", "b"]}, "dt": hour, "n": {"range": 1}}
    )
    windows = hours.keys(hours.parse("2013-10-26T12..2013-10-28T12"))
    keys = [
        f"origin={'ab'[i % 2]}/dt={window}/n={i % 11}-{i % 11}" for i, window in enumerate(windows)
    ]
    columns = {"origin": "text", "dt": "timestamp without time zone", "n": "integer"}
    table = Table("public", "products", columns)
    async with database.connection() as conn:
        await conn.execute(
            """CREATE TABLE products AS SELECT row_number() OVER () AS id, o AS origin, n,
                timestamp '2013-10-26 12:00' + i * interval '30 minutes' AS dt
            FROM unnest(ARRAY['a', 'b']) AS o, generate_series(0, 100) AS i,
                generate_series(0, 10) AS n"""
        )
        expected = set[int]()
        for key in keys:
            expected |= set(await _ids(conn, within(space.parse(key), table)))
        chosen = space.from_keys(keys)
        found = await _ids(conn, within(chosen, table))

    assert len(chosen.boxes) > 16
    assert set(found) == expected


async def _ids(conn: Connection, condition: sql.Composable) -> list[int]:
    query = sql.SQL("SELECT id FROM products WHERE {}").format(condition)
    return [row["id"] for row in await (await conn.execute(query)).fetchall()]


async def _table(conn: Connection, kind: str, values: str) -> Table:
    await conn.execute(f"CREATE TABLE scattered (k {kind})".encode())
    await conn.execute(f"INSERT INTO scattered {values}".encode())
    rows = await conn.execute(
        "SELECT format_type(atttypid, atttypmod) AS kind FROM pg_attribute"
        " WHERE attrelid = 'scattered'::regclass AND attnum = 1"
    )
    row = await rows.fetchone()
    assert row is not None
    return Table("public", "scattered", {"k": row["kind"]})


async def _selected(
    conn: Connection, space: PartitionSpace, table: Table, keys: Sequence[str]
) -> list[str]:
    return await _matching(conn, within(space.from_keys(keys), table))


async def _matching(conn: Connection, condition: sql.Composable) -> list[str]:
    query = sql.SQL("SELECT trim(k::text) AS k FROM scattered WHERE {}").format(condition)
    return [row["k"] for row in await (await conn.execute(query)).fetchall()]
