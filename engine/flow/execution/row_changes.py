"""Bound the list of a partition's row changes.

The oldest entries are replaced by versions, as if all rows had changed. Before the replacement, the
versions recorded by readers are raised past entries that do not reach the reader; the remaining
readers are stale in either case.
"""

from __future__ import annotations

from bisect import bisect_right
from collections import defaultdict
from collections.abc import Iterable, Mapping, Sequence
from operator import attrgetter
from uuid import UUID

import msgspec
from psycopg.types.json import Jsonb

from engine.lineage.columns import reaches, read_columns, stored_columns
from engine.lineage.content import Content, RowChange
from engine.lineage.graph import Lineage
from engine.lineage.scope import reached
from engine.model.job import Job
from engine.partitions import PartitionSet
from engine.planner.first_runs import SINGLE_RUN_KEY
from engine.store.database import Connection
from engine.store.rows.row_changes import OutdatedRun, StoredContent
from engine.store.run import execute, fetch


async def bound_row_changes(
    conn: Connection, lineage: Lineage, dataset: UUID, version: UUID, keys: Iterable[str]
) -> None:
    """Drop the oldest row changes of locked partitions with too many."""
    rows = await fetch(
        conn,
        "row_changes.contents",
        StoredContent,
        dataset=dataset,
        version=version,
        keys=list(keys),
    )
    for row in rows:
        content = msgspec.convert(row.content, Content)
        dropped = content.oldest_row_changes
        if dropped:
            for job in dict.fromkeys(edge.job for edge in lineage.readers(dataset)):
                await _raise(conn, lineage, lineage.job(job), dataset, row, dropped)
            bounded = content.without(dropped)
            await execute(
                conn,
                "row_changes.replace",
                dataset=dataset,
                version=version,
                key=row.key,
                column_versions=Jsonb(msgspec.to_builtins(bounded.column_versions)),
                row_changes=Jsonb(msgspec.to_builtins(bounded.row_changes)),
            )


async def _raise(
    conn: Connection,
    lineage: Lineage,
    job: Job,
    dataset: UUID,
    row: StoredContent,
    dropped: Sequence[RowChange],
) -> None:
    """Raise the versions recorded by runs with no partition reached by the missed changes.

    Changes of unread columns need no raise, which would hide them from wider lineage.
    """
    edges = [edge for edge in lineage.inputs(job.id) if edge.dataset == dataset]
    dropped = [
        change
        for change in dropped
        if any(reaches(edge.columns, change.scope.dirty_columns) for edge in edges)
    ]
    if not dropped:
        return
    columns = read_columns([output for edge in edges for output in edge.columns])
    output = lineage.dataset(job.outputs[0])
    runs = await fetch(
        conn,
        "row_changes.single_run" if job.is_single_run else "row_changes.runs",
        OutdatedRun,
        output=output.id,
        output_version=output.version,
        dataset=dataset,
        version=lineage.dataset(dataset).version,
        key=row.key,
        columns=stored_columns(columns),
        before=dropped[-1].at,
    )
    if runs:
        reached_runs = _reached_runs(lineage, job, dataset, runs, dropped)
        await execute(
            conn,
            "row_changes.raise_recorded",
            tasks=list({run.task_id for run in runs} - reached_runs),
            dataset=dataset,
            key=row.key,
            at=dropped[-1].at,
        )


def _reached_runs(
    lineage: Lineage,
    job: Job,
    dataset: UUID,
    runs: Sequence[OutdatedRun],
    dropped: Sequence[RowChange],
) -> set[UUID]:
    """Return the runs with a partition reached by a change later than the recorded version."""
    space = lineage.job_space(job)
    since = _reached_since(lineage, job, dataset, dropped)
    times = list(map(attrgetter("at"), dropped))
    missed: Mapping[int, list[OutdatedRun]] = defaultdict(list)
    for run in runs:
        missed[bisect_right(times, run.recorded)].append(run)
    reached_runs: set[UUID] = set()
    for first, rows in missed.items():
        if job.is_single_run:
            keys = {SINGLE_RUN_KEY} if since[first] else set()
        else:
            keys = {*space.keys(since[first] & space.from_keys(row.key for row in rows))}
        reached_runs |= {row.task_id for row in rows if row.key in keys}
    return reached_runs


def _reached_since(
    lineage: Lineage, job: Job, dataset: UUID, dropped: Sequence[RowChange]
) -> list[PartitionSet]:
    """List for each change the partitions reached from then on; the last entry is empty."""
    space = lineage.job_space(job)
    edges = [edge for edge in lineage.inputs(job.id) if edge.dataset == dataset]
    since = [space.empty]
    for change in reversed(dropped):
        reach = [reached(edge, space.universe, change.scope) for edge in edges]
        since.append(PartitionSet.union([since[-1], *reach]))
    return since[::-1]
