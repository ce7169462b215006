"""Row filters on times as conditions of SQL, against rows compared one by one."""

from collections.abc import Iterable
from datetime import UTC, datetime, time
from random import Random
from typing import Any

import pytest
from psycopg import sql

from engine.errors import InvalidFilter
from engine.lineage.rows import RowFilter
from engine.partitions import PartitionSpace
from engine.store.database import Connection, Database
from engine.worker.operators.sql.selection import selected
from engine.worker.operators.sql.tables import Table
from tests.support.filtered_times import (
    GRAINS,
    WITHOUT_CLOCK_CHANGES,
    ZONES,
    Stored,
    meets,
    random_filter,
    rows,
)

KINDS = ("timestamp with time zone", "timestamp without time zone", "date")


async def _table(conn: Connection, kind: str, values: Iterable[datetime]) -> Table:
    await conn.execute(f"CREATE TABLE times (at {kind})".encode())
    await conn.execute(
        "INSERT INTO times SELECT unnest(%s::text[])::" + kind, [[*map(str, values)]]
    )
    return Table("public", "times", {"at": kind})


async def _rows(
    conn: Connection, table: Table, spec: dict[str, Any], stored: Stored, session_zone: str
) -> set[datetime]:
    space = PartitionSpace.from_spec(stored.spec())
    condition = selected(RowFilter.parse(spec), space, table, session_zone)
    query = sql.SQL("SELECT at FROM times WHERE {}").format(condition)
    await conn.execute("SELECT set_config('timezone', %s, true)", [session_zone])
    found = await (await conn.execute(query)).fetchall()
    return {_moment(row["at"]) for row in found}


def _moment(value: Any) -> datetime:
    if not isinstance(value, datetime):
        return datetime.combine(value, time())
    return value.astimezone(UTC) if value.tzinfo else value


def _of_kind(kind: str, anchor: str) -> list[datetime]:
    instants, walls = rows(anchor)
    if kind == "date":
        return [datetime.combine(day, time()) for day in dict.fromkeys(w.date() for w in walls)]
    return instants if kind.endswith("with time zone") else walls


@pytest.mark.parametrize("kind", KINDS)
@pytest.mark.parametrize("anchor", ZONES)
async def test_every_matching_row_is_selected(database: Database, kind: str, anchor: str) -> None:
    rng = Random(f"{kind} {anchor}")
    values = _of_kind(kind, anchor)
    async with database.transaction() as conn:
        table = await _table(conn, kind, values)
        for _ in range(40):
            spec = random_filter(rng, anchor)
            stored = Stored(rng.choice((None, *GRAINS)), rng.choice((anchor, *ZONES)), anchor)
            try:
                found = await _rows(conn, table, spec, stored, rng.choice(("UTC", *ZONES)))
            except InvalidFilter:
                continue
            matching = {row for row in values if meets(spec, row, stored.filter_zone)}
            assert matching <= found, (spec, stored)


@pytest.mark.parametrize("kind", KINDS[:2])
@pytest.mark.parametrize("anchor", WITHOUT_CLOCK_CHANGES)
async def test_only_hours_or_days_with_a_matching_row_are_selected(
    database: Database, kind: str, anchor: str
) -> None:
    rng = Random(f"{kind} {anchor}")
    values = _of_kind(kind, anchor)
    async with database.transaction() as conn:
        table = await _table(conn, kind, values)
        for _ in range(40):
            spec = random_filter(rng, anchor)
            grain = rng.choice((None, *GRAINS))
            stored = Stored(grain, anchor, anchor)
            try:
                found = await _rows(conn, table, spec, stored, "UTC")
            except InvalidFilter:
                continue
            is_hourly = grain in (None, "hour")
            windows = Stored("hour" if is_hourly else "day", stored.filter_zone, anchor)
            keys = {windows.key(row) for row in values if meets(spec, row, stored.filter_zone)}
            assert found == {row for row in values if windows.key(row) in keys}, (spec, stored)
