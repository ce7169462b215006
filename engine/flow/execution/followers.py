"""Let followers of an output read all rows after a run that may have changed any of them.

A plan takes the output of a `PerUpdate` run on new rows for grown, and lets followers read the rows
past their cursors; other changes let them read the rows that the plan has propagated. Only the run
shows that no other row has changed.
"""

from __future__ import annotations

from collections.abc import Iterable, Mapping
from uuid import UUID

from engine.flow.execution.contents import PartitionChange
from engine.lineage.columns import PRUNED, DirtyColumns, Pruning, reaches, union_columns
from engine.lineage.graph import Lineage
from engine.model.job import Job
from engine.model.task import NEW_ROWS, Completion, Lease
from engine.store.database import Connection
from engine.store.rows.tasks import TaskJob
from engine.store.run import execute, fetch

Rewritten = Mapping[tuple[UUID, UUID], DirtyColumns]
"""Changed columns, by task and output, of outputs with changes of rows that no plan has named."""


def rewritten_outputs(
    completions: Iterable[Completion], changed: Iterable[PartitionChange]
) -> Rewritten:
    """Return the outputs that may have changed in rows other than those planned for followers."""
    leases = {completion.lease.task_id: completion.lease for completion in completions}
    rewritten: dict[tuple[UUID, UUID], DirtyColumns] = {}
    for change in changed:
        columns = _rewritten_columns(leases[change.report.task_id], change)
        if columns is not PRUNED:
            output = change.report.task_id, change.report.dataset_uuid
            rewritten[output] = union_columns(rewritten.get(output, frozenset()), columns)
    return rewritten


def _rewritten_columns(lease: Lease, change: PartitionChange) -> DirtyColumns | Pruning:
    """Return the changed columns; PRUNED if all changes are planned.

    Rows added by a run on other than new rows may belong before a follower's cursor.
    """
    if not lease.job.is_per_update:
        return change.unpropagated
    is_on_new_rows = bool(lease.cursors) and all(rows == NEW_ROWS for rows in lease.row_filters)
    return PRUNED if change.has_grown and is_on_new_rows else change.columns


async def widen_followers(conn: Connection, lineage: Lineage, rewritten: Rewritten) -> None:
    """Let the locked, blocked followers of outputs read all rows.

    Followers without such a task, because it was canceled, are left with unread rows.
    """
    follows = [
        (task, dataset, lineage.job(edge.job))
        for (task, dataset), columns in rewritten.items()
        for edge in lineage.readers(dataset)
        if edge.input.cursor is not None and reaches(edge.columns, columns)
    ]
    if not follows:
        return
    rows = await fetch(
        conn,
        "tasks.read_all_rows",
        TaskJob,
        ended=[task for task, _, _ in follows],
        datasets=[dataset for _, dataset, _ in follows],
        jobs=[follower.id for _, _, follower in follows],
    )
    widened = {row.job_id for row in rows}
    for _, _, follower in follows:
        if follower.id not in widened:
            await leave_unread(conn, lineage, follower, old_rows=True, new_rows=False)


async def leave_unread(
    conn: Connection, lineage: Lineage, job: Job, *, old_rows: bool, new_rows: bool
) -> bool:
    """Record that rows stay unread; return False if the job has never run."""
    outputs = list(map(lineage.dataset, job.outputs))
    left = await execute(
        conn,
        "stale.leave_rows_unread",
        datasets=[output.id for output in outputs],
        versions=[output.version for output in outputs],
        old_rows=old_rows,
        new_rows=new_rows,
    )
    return bool(left)
