"""Record the column lineage that runs report for their outputs.

A report counts if the run belongs to an attempt at a task that wrote the current version of the
dataset, and the job's output has ``column_lineage: openlineage``. Reports add edges to the column
lineage and never remove any.
"""

from collections.abc import Iterator, Sequence
from uuid import UUID

import msgspec
from psycopg.types.json import Jsonb

from engine.flow.ingestion.resolve import known_columns
from engine.flow.shared.invalidations import insert_own
from engine.flow.shared.org_context import OrgContext
from engine.flow.shared.pruned_changes import invalidate_pruned
from engine.lineage.columns import ALL_COLUMNS, EVERY
from engine.lineage.graph import Edge, Lineage
from engine.model.dataset import Dataset
from engine.model.job import Job
from engine.model.openlineage import tasks_of
from engine.model.reported_lineage import Name, ReportedColumn, ReportedLineage
from engine.store.database import Connection
from engine.store.orgs import lock_planning
from engine.store.rows.lineage import AcceptingDataset
from engine.store.run import execute, fetch


class _Row(msgspec.Struct, frozen=True):
    """Row of ``column_lineage``."""

    output: UUID
    output_column: str
    input: UUID
    input_column: str
    job: UUID


async def record_reported_lineage(
    conn: Connection, org: OrgContext, reported: Sequence[ReportedLineage]
) -> int:
    """Insert new reported column lineage; return the number of inserted rows.

    Must run in the transaction that advances the position past the message.
    """
    if not reported or not await _unrecorded(conn, org, reported):
        return 0
    await lock_planning(conn, org.id)
    before = await org.lineage(conn)
    rows = await _unrecorded(conn, org, reported)  # a deploy may have committed meanwhile
    if not rows:
        return 0
    await execute(conn, "dags.insert_columns", org_id=org.id, rows=Jsonb(msgspec.to_builtins(rows)))
    await execute(conn, "orgs.bump_epoch", org_id=org.id)
    jobs = {row.job: before.job(row.job) for row in rows}
    outputs = [job.outputs[0] for job in jobs.values()]
    now = await org.lineage(conn)
    await insert_own(
        conn, org, await invalidate_pruned(conn, before, now, outputs, source="openlineage")
    )
    return len(rows)


async def _unrecorded(
    conn: Connection, org: OrgContext, reported: Sequence[ReportedLineage]
) -> list[_Row]:
    """Return the reported rows missing in the database."""
    lineage = await org.lineage(conn)
    rows: dict[_Row, None] = {}
    for report, dataset in await _accepted(conn, org, lineage, reported):
        job = lineage.producer(dataset.id)
        rows |= dict.fromkeys(_new_rows(lineage, job, dataset, report))
    return list(rows)


async def _accepted(
    conn: Connection, org: OrgContext, lineage: Lineage, reported: Sequence[ReportedLineage]
) -> list[tuple[ReportedLineage, Dataset]]:
    """Return the reports accepted by a current dataset, each with the dataset."""
    runs = [(i, *tasks_of(run)) for i, report in enumerate(reported) for run in report.runs]
    indexes, firsts, lasts = zip(*runs, strict=True)
    rows = await fetch(
        conn,
        "lineage.accepting_datasets",
        AcceptingDataset,
        org_id=org.id,
        indexes=list(indexes),
        firsts=list(firsts),
        lasts=list(lasts),
    )
    pairs = [(reported[row.index], lineage.find_dataset(row.dataset), row) for row in rows]
    return [
        (report, dataset)
        for report, dataset, row in pairs
        if dataset and dataset.version == row.version and _matches(report, report.names, dataset)
    ]


def _matches(reported: ReportedLineage, names: Sequence[Name], dataset: Dataset) -> bool:
    return any(naming.matches(name, dataset.name) for naming in reported.naming for name in names)


def _new_rows(
    lineage: Lineage, job: Job, dataset: Dataset, reported: ReportedLineage
) -> list[_Row]:
    """Return the rows of a report missing in ``lineage``; none if the report is incomplete.

    A report is incomplete if it lacks a column of the dataset or has a column of an unread dataset.
    Incomplete lineage would prune relevant changes.
    """
    known = known_columns(dataset, lineage.space(dataset.id))
    if known is None or not {*(dataset.columns or ())} <= reported.columns <= known:
        return []
    rows: set[_Row] = set()
    for read in reported.reads:
        edges = _edges_of(lineage, job, reported, read)
        if not edges:
            return []
        rows.update(_rows(lineage, job, dataset, edges, read))
    return [row for row in rows if not _is_recorded(lineage, row)]


def _edges_of(
    lineage: Lineage, job: Job, reported: ReportedLineage, read: ReportedColumn
) -> list[Edge]:
    """Return the edges through which the job reads the dataset of a column.

    Empty if several datasets match, or if the dataset lacks the column.
    """
    edges = [
        edge
        for edge in lineage.inputs(job.id)
        if _matches(reported, read.names, lineage.dataset(edge.dataset))
    ]
    if len({edge.dataset for edge in edges}) != 1:
        return []
    source = lineage.dataset(edges[0].dataset)
    known = known_columns(source, lineage.space(source.id))
    return edges if known is None or read.column in known else []


def _rows(
    lineage: Lineage, job: Job, dataset: Dataset, edges: Sequence[Edge], read: ReportedColumn
) -> Iterator[_Row]:
    """Yield the rows of one read, including columns that select input rows or locate output rows.

    Yields none for an input without declared columns, because events may use other column names.
    """
    source = lineage.dataset(edges[0].dataset)
    if source.columns is None:
        return
    locating = _partitioned_by(lineage, dataset).union(job.merge_key)
    output = EVERY if read.output in locating else read.output
    yield _Row(dataset.id, output, source.id, read.column, job.id)
    cursors = {edge.input.cursor["column"] for edge in edges if edge.input.cursor}
    for column in _partitioned_by(lineage, source) | cursors:
        yield _Row(dataset.id, EVERY, source.id, column, job.id)


def _partitioned_by(lineage: Lineage, dataset: Dataset) -> set[str]:
    dimensions = lineage.space(dataset.id).dimensions
    return {column for name, dim in dimensions for column in (name, dim.column or name)}


def _is_recorded(lineage: Lineage, row: _Row) -> bool:
    for edge in lineage.inputs(row.job):
        columns = edge.columns[lineage.job(row.job).outputs.index(row.output)]
        if edge.dataset == row.input and columns is not None and row.input_column in columns:
            outputs = columns[row.input_column]
            return outputs is ALL_COLUMNS or row.output_column in outputs
    return False
