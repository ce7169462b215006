"""The input followed by a PerUpdate job: the rows that a run reads."""

from collections.abc import Awaitable, Callable, Mapping
from dataclasses import dataclass
from datetime import UTC, datetime
from functools import partial
from typing import Any
from uuid import UUID

import psycopg
from psycopg import sql

from engine.errors import InvalidInput, TaskFailed
from engine.lineage.rows import RowFilter
from engine.model.job import Job
from engine.model.task import Lease
from engine.partitions import PartitionSet, PartitionSpace
from engine.store.as_org import AsOrg
from engine.worker.operators.sql.column_conditions import FALSE, all_of, any_of
from engine.worker.operators.sql.existing import existing_now
from engine.worker.operators.sql.predicates import within
from engine.worker.operators.sql.selection import selected
from engine.worker.operators.sql.tables import Table
from engine.worker.reading import needed, space_of, visible

_TYPES = {"integer": "int8", "timestamp": "timestamptz", "text": "text"}
_CHECK = sql.SQL("SELECT FROM {} WHERE {} LIMIT 0")


@dataclass(frozen=True, slots=True)
class Followed:
    """The complete condition for the rows to read, and the cursors after the run."""

    alias: str
    condition: sql.Composable
    cursors: Mapping[UUID, str]


async def follow(
    org: AsOrg, lease: Lease, tables: Mapping[str, Table], existing: Mapping[str, PartitionSet]
) -> Followed | None:
    """Return the rows to read from the followed input, or None if the job is not PerUpdate.

    The current maximum of the cursor column bounds the rows; later rows belong to the next run. The
    cursor passes over all smaller values, so partitions built since the claim are read as well.
    """
    if not lease.job.is_per_update:
        return None
    alias, cursor = _cursor(lease.job)
    column, kind = _typed(cursor)
    built, table = space_of(lease.outputs[0].partitioning).universe, tables[alias]
    partitions = visible(lease, alias, built, existing[alias])
    newest = await _newest(org, table, column, kind, within(partitions, table))
    if newest is not None and cursor["type"] == "timestamp":
        newest = _moment(table, newest)
    dataset = lease.inputs[alias].id
    fresh = _fresh(column, kind, lease.cursors.get(dataset), newest)
    everything = _fresh(column, kind, None, newest)
    filters: tuple[Mapping[str, Any] | None, ...] = lease.row_filters or ({},)
    reread = partial(_reread, org, space_of(lease.inputs[alias].partitioning), table, everything)
    rows = any_of([await _rows(spec, fresh, everything, reread) for spec in filters])
    if partitions != needed(lease, alias, built):
        partitions = visible(lease, alias, built, await existing_now(org, lease, alias, table))
    moves = newest is not None and not all(filters)
    cursors = {dataset: str(newest)} if moves else {}
    return Followed(alias, all_of([within(partitions, table), rows]), cursors)


def _cursor(job: Job) -> tuple[str, Mapping[str, str]]:
    for entry in job.inputs:
        if entry.cursor is not None:
            return entry.alias, entry.cursor
    raise InvalidInput(
        f"job {job.name!r} is PerUpdate but no input has a cursor: give one a cursor"
    )


def _typed(cursor: Mapping[str, str]) -> tuple[sql.Composable, sql.Identifier]:
    """Return the cursor column with its collation, and its type."""
    column: sql.Composable = sql.Identifier(cursor["column"])
    if cursor["type"] == "text":
        column = sql.SQL('{} COLLATE "C"').format(column)
    return column, sql.Identifier(_TYPES[cursor["type"]])


async def _newest(
    org: AsOrg,
    table: Table,
    column: sql.Composable,
    kind: sql.Identifier,
    condition: sql.Composable,
) -> str | None:
    query = sql.SQL("SELECT CAST(max({}) AS {}) AS newest FROM {} WHERE {}")
    (row,) = await org.fetch(query.format(column, kind, table.identifier, condition))
    return None if row["newest"] is None else str(row["newest"])


def _moment(table: Table, text: str) -> str:
    """Convert a timestamp to UTC, so that cursors do not depend on a session's time zone."""
    try:
        return datetime.fromisoformat(text).astimezone(UTC).isoformat()
    except ValueError as error:
        raise TaskFailed(
            f"the latest timestamp in {table.schema}.{table.name} is {text}: a cursor can only "
            "follow timestamps of the years 1 to 9999; correct or remove the row"
        ) from error


def _fresh(
    column: sql.Composable, kind: sql.Identifier, after: str | None, newest: str | None
) -> sql.Composable:
    if newest is None:
        return FALSE
    compare = sql.SQL("{} {} CAST({} AS {})")
    ends = [compare.format(column, sql.SQL("<="), newest, kind)]
    if after is not None:
        ends.append(compare.format(column, sql.SQL(">"), after, kind))
    return all_of(ends)


async def _rows(
    spec: Mapping[str, Any] | None,
    fresh: sql.Composable,
    everything: sql.Composable,
    reread: Callable[[RowFilter], Awaitable[sql.Composable]],
) -> sql.Composable:
    if spec is None:
        return everything
    return await reread(RowFilter.parse(spec)) if spec else fresh


async def _reread(
    org: AsOrg, space: PartitionSpace, table: Table, everything: sql.Composable, rows: RowFilter
) -> sql.Composable:
    """Return the condition of a row filter, widened to everything if the table cannot evaluate it.

    The columns of an event are checked only if the dataset declares its own, and values are not
    checked against types.
    """
    condition = selected(rows, space, table, org.zone)
    try:
        async with org.conn.transaction():
            await org.execute(_CHECK.format(table.identifier, condition))
    except (psycopg.DataError, psycopg.ProgrammingError):
        return everything
    return condition
