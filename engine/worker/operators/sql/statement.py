"""Common parts of the statements that write outputs."""

from collections.abc import Iterable, Iterator, Sequence
from dataclasses import dataclass
from typing import Any, LiteralString

from psycopg import sql

from engine.errors import InvalidOutput, TaskFailed
from engine.model.dataset import Dataset
from engine.model.job import Job
from engine.store.as_org import AsOrg
from engine.store.rows.tables import UniqueIndex
from engine.store.run import fetch_one
from engine.worker.operators.sql.column_conditions import FALSE, all_of, any_of
from engine.worker.operators.sql.column_types import type_name
from engine.worker.operators.sql.difference import same_columns
from engine.worker.operators.sql.predicates import within
from engine.worker.operators.sql.probe import as_it_stands
from engine.worker.operators.sql.reads import Unit
from engine.worker.operators.sql.shape import Shape, constants
from engine.worker.operators.sql.tables import Table


@dataclass(frozen=True, slots=True)
class Writing:
    """A write of one unit into one table; ``common`` are the relations visible to the SELECT."""

    job: Job
    dataset: Dataset
    table: Table
    shape: Shape
    select: str
    unit: Unit
    common: sql.Composable

    async def run(
        self, org: AsOrg, statement: sql.SQL, **parts: sql.Composable
    ) -> list[dict[str, Any]]:
        """Fill in and run a statement. Raises TaskFailed for rows outside of the unit."""
        composed = statement.format(**self._parts(), **parts)
        rows = await org.fetch(composed)
        if strays := sum(row["strays"] or 0 for row in rows):
            raise InvalidOutput(
                f"the SELECT for {self.dataset.name!r} returned {strays} rows outside of partition "
                f"{self.unit.text!r}: filter them out, for example with a join on knockon_partition"
            )
        return rows

    def same(self, part: sql.Composable) -> sql.Composed:
        """Return the CTEs that compare columns by ``part``; see `same_columns`."""
        columns = names(self.table.columns)
        return same_columns(self.table, part, columns, within(self.unit.partitions, self.table))

    def _parts(self) -> dict[str, sql.Composable]:
        return {
            "common": self.common,
            "select": as_it_stands(self.select),
            "values": sql.SQL(", ").join(self._values()),
            "table": self.table.identifier,
            "columns": names(self.table.columns),
            "row": row_of(self.table.columns, "t"),
            "within": within(self.unit.partitions, self.table),
            "key": names(self.job.unique_key),
            "has_null_key": any_of(
                sql.SQL("{} IS NULL").format(sql.Identifier(column))
                for column in self.job.unique_key
            ),
            "same_key": all_of(map(_same, self.job.unique_key)),
            "upsert": _upsert(self.table, self.job.unique_key),
            "is_new": _is_new(self.table),
        }

    def _values(self) -> Iterator[sql.Composable]:
        """Cast each column to the table's type, so that rows compare as stored."""
        added = constants(self.shape, self.unit.partitions)
        for column, kind in self.table.columns.items():
            name = sql.Identifier(column)
            value = added.get(column) or sql.SQL("q.{}").format(name)
            yield sql.SQL("CAST({} AS {}) AS {}").format(value, type_name(kind), name)


async def check_null_keys(org: AsOrg, writing: Writing, nulls: int) -> None:
    """Raise TaskFailed for rows with a null in their key that the table's index does not merge."""
    table, key = writing.table, writing.job.unique_key
    if not nulls:
        return
    index = await fetch_one(
        org.conn,
        "tables.unique_index",
        UniqueIndex,
        schema=table.schema,
        table=table.name,
        columns=list(key),
    )
    if index is None or not index.merges_nulls:
        raise TaskFailed(
            f"{nulls} rows for {writing.dataset.name!r} have a null in unique_key, and the unique "
            f"index of table {table.schema}.{table.name} would add such rows again in each run: "
            "recreate the index with NULLS NOT DISTINCT, or replace the nulls in the SELECT"
        )


def names(columns: Iterable[str]) -> sql.Composed:
    """Compose a list of column names."""
    return sql.SQL(", ").join(map(sql.Identifier, columns))


def row_of(columns: Iterable[str], of: LiteralString) -> sql.Composed:
    """Compose a ROW of the columns of an alias."""
    parts = [sql.Identifier(of, column) for column in columns]
    return sql.SQL("ROW({})").format(sql.SQL(", ").join(parts))


def _same(column: str) -> sql.Composed:
    """Compose an equality that holds for nulls as well and, unlike IS NOT DISTINCT, can be hashed.

    Elements of arrays are equal if both are null.
    """
    old, new = (sql.Identifier(alias, column) for alias in ("t", "n"))
    return sql.SQL("ARRAY[{}] = ARRAY[{}]").format(old, new)


def _is_new(table: Table) -> sql.Composable:
    """Compose the test, in RETURNING of an upsert, that a row was inserted and not updated.

    A partitioned table cannot return system columns in every case, so its rows count as updated.
    """
    return sql.SQL("t.xmax = 0") if table.kind == "r" else FALSE


def _upsert(table: Table, key: Sequence[str]) -> sql.Composable:
    """Compare rows as text, since not every type has an equality operator."""
    rest = [column for column in table.columns if column not in key]
    if not rest:
        return sql.SQL("NOTHING")
    assignments = sql.SQL(", ").join(
        sql.SQL("{0} = EXCLUDED.{0}").format(sql.Identifier(column)) for column in rest
    )
    return sql.SQL("UPDATE SET {} WHERE {}::text IS DISTINCT FROM {}::text").format(
        assignments, row_of(rest, "t"), row_of(rest, "excluded")
    )
