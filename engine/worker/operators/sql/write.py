"""Writing one output partition: one statement that runs the SELECT, compares and writes."""

from collections.abc import Iterable, Iterator, Sequence
from dataclasses import dataclass
from typing import Any

from psycopg import sql

from engine.errors import TaskFailed
from engine.model.dataset import Dataset
from engine.model.job import Job
from engine.model.task import Output
from engine.store.database import Connection
from engine.worker.operators.sql.output import type_name
from engine.worker.operators.sql.predicates import within
from engine.worker.operators.sql.probe import as_it_stands
from engine.worker.operators.sql.reads import Unit
from engine.worker.operators.sql.shape import Shape, constants
from engine.worker.operators.sql.tables import Table

_REPLACE = sql.SQL("""WITH {common},
knockon_new AS MATERIALIZED (SELECT {values} FROM ({select}) AS q),
knockon_told AS MATERIALIZED (
    SELECT *, new <> old AS differs FROM
        (SELECT {fingerprint} AS new, count(*) AS rows,
                coalesce(sum(pg_column_size({row})), 0)::bigint AS bytes,
                count(*) FILTER (WHERE ({within}) IS NOT TRUE) AS strays
         FROM knockon_new) AS n,
        (SELECT {fingerprint} AS old FROM {table} WHERE {within}) AS o),
knockon_gone AS (
    DELETE FROM {table} WHERE (SELECT differs FROM knockon_told) AND ({within}) RETURNING 1),
knockon_put AS (
    INSERT INTO {table} ({columns}) SELECT {columns} FROM knockon_new
    WHERE (SELECT differs FROM knockon_told)
        -- asking for the deleted rows has them deleted first
        AND (SELECT count(*) FROM knockon_gone) IS NOT NULL)
SELECT new AS fingerprint, rows, bytes, strays, differs FROM knockon_told""")

_APPEND = sql.SQL("""WITH {common},
knockon_new AS MATERIALIZED (SELECT {values} FROM ({select}) AS q),
knockon_moved AS MATERIALIZED (
    SELECT 1 FROM (SELECT * FROM {table} WHERE ({within}) IS NOT TRUE) AS t
    JOIN knockon_new USING ({key})),
knockon_put AS (
    INSERT INTO {table} AS t ({columns}) SELECT {columns} FROM knockon_new
    ON CONFLICT ({key}) DO {upsert}
    RETURNING 1)
SELECT (SELECT count(*) FROM knockon_new WHERE ({within}) IS NOT TRUE) AS strays,
       (SELECT count(*) FROM knockon_moved) AS moved,
       (SELECT count(*) FROM knockon_put) > 0 AS differs""")


@dataclass(frozen=True, slots=True)
class Writing:
    """One SELECT on its way into one table."""

    job: Job
    dataset: Dataset
    table: Table
    shape: Shape
    select: str


async def write(conn: Connection, writing: Writing, unit: Unit, common: sql.Composable) -> Output:
    """Make one partition of the output. Raises TaskFailed, and psycopg's errors."""
    statement = _append if writing.job.update_strategy == "append" else _replace
    # binary: the protocol that takes one statement only
    cursor = await conn.execute(statement(writing, unit, common), binary=True)
    (told,) = await cursor.fetchall()
    _check(told, writing, unit)
    return _output(told, writing, unit)


def _replace(writing: Writing, unit: Unit, common: sql.Composable) -> sql.Composed:
    return _REPLACE.format(
        fingerprint=_fingerprint(writing.table),
        row=_row(writing.table.columns),
        **_parts(writing, unit, common),
    )


def _append(writing: Writing, unit: Unit, common: sql.Composable) -> sql.Composed:
    key = writing.job.unique_key
    return _APPEND.format(
        key=_names(key),
        upsert=_upsert(writing.table, key),
        **_parts(writing, unit, common),
    )


def _parts(writing: Writing, unit: Unit, common: sql.Composable) -> dict[str, sql.Composable]:
    return {
        "common": common,
        "select": as_it_stands(writing.select),
        "values": sql.SQL(", ").join(_values(writing, unit)),
        "table": writing.table.identifier,
        "columns": _names(writing.table.columns),
        "within": within(unit.made, writing.table),
    }


def _values(writing: Writing, unit: Unit) -> Iterator[sql.Composable]:
    """The table's columns, each in the table's type, so that rows compare as they are stored."""
    added = constants(writing.shape, unit.made)
    for column, kind in writing.table.columns.items():
        name = sql.Identifier(column)
        value = added.get(column) or sql.SQL("q.{}").format(name)
        yield sql.SQL("CAST({} AS {}) AS {}").format(value, type_name(kind), name)


def _names(columns: Iterable[str]) -> sql.Composed:
    return sql.SQL(", ").join(map(sql.Identifier, columns))


def _row(columns: Iterable[str], of: str = "") -> sql.Composed:
    parts = [sql.Identifier(of, column) if of else sql.Identifier(column) for column in columns]
    return sql.SQL("ROW({})").format(sql.SQL(", ").join(parts))


def _fingerprint(table: Table) -> sql.Composed:
    """The same for the same rows in any order: their number, and the sum of their hashes.

    Rows go by their text, which every type has, though not every type can be compared.
    """
    return sql.SQL("md5(concat_ws(' ', {}, count(*), sum(hashtextextended({}::text, 0))))").format(
        " ".join(table.columns), _row(table.columns)
    )


def _upsert(table: Table, key: Sequence[str]) -> sql.Composable:
    rest = [column for column in table.columns if column not in key]
    if not rest:
        return sql.SQL("NOTHING")
    moves = sql.SQL(", ").join(
        sql.SQL("{0} = EXCLUDED.{0}").format(sql.Identifier(column)) for column in rest
    )
    return sql.SQL("UPDATE SET {} WHERE {}::text IS DISTINCT FROM {}::text").format(
        moves, _row(rest, "t"), _row(rest, "excluded")
    )


def _check(told: dict[str, Any], writing: Writing, unit: Unit) -> None:
    name = writing.dataset.name
    if told["strays"]:
        raise TaskFailed(
            f"the SELECT for {name!r} gave {told['strays']} rows outside of partition "
            f"{unit.text!r}: filter them out, by joining knockon_partition where the inputs are "
            "cut otherwise"
        )
    if told.get("moved"):
        raise TaskFailed(
            f"{told['moved']} rows for partition {unit.text!r} of {name!r} have the unique key of "
            "rows in another partition: add the partition's columns to unique_key"
        )


def _output(told: dict[str, Any], writing: Writing, unit: Unit) -> Output:
    if writing.job.update_strategy == "append":
        return Output(writing.dataset.name, unit.text, changed=told["differs"])
    return Output(
        writing.dataset.name,
        unit.text,
        fingerprint=told["fingerprint"],
        row_count=told["rows"],
        bytes=told["bytes"],
        # Equal to what was there, the stored fingerprint decides: a first run is a change.
        changed=True if told["differs"] else None,
    )
