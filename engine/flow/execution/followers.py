"""Let followers of an output read all rows after a run that has not only added rows.

A plan takes the output of a `PerUpdate` run on new rows for grown, and lets followers read the rows
past their cursors. Only the run shows that no earlier row has changed.
"""

from __future__ import annotations

from collections import defaultdict
from collections.abc import Collection, Iterable, Mapping, Sequence
from uuid import UUID

from engine.flow.execution.contents import PartitionChange
from engine.lineage.graph import Lineage
from engine.model.job import Job
from engine.model.states import ExecutionStrategy
from engine.model.task import Completion, Lease
from engine.store.database import Connection
from engine.store.rows.tasks import TaskJob
from engine.store.run import execute, fetch

Rewritten = Mapping[UUID, Collection[UUID]]
"""By task, the output datasets with changes other than rows added past the followers' cursors."""


def rewritten_outputs(
    completions: Iterable[Completion], changed: Iterable[PartitionChange]
) -> Rewritten:
    """Return the outputs of `PerUpdate` runs that may have changed earlier rows.

    Rows added by a run on other than new rows may belong before a follower's cursor.
    """
    leases = {completion.lease.task_id: completion.lease for completion in completions}
    rewritten: defaultdict[UUID, set[UUID]] = defaultdict(set)
    for change in changed:
        lease = leases[change.report.task_id]
        if lease.job.strategy == ExecutionStrategy.PER_UPDATE and not (
            change.has_grown and _is_on_new_rows(lease)
        ):
            rewritten[lease.task_id].add(change.report.dataset_uuid)
    return rewritten


def _is_on_new_rows(lease: Lease) -> bool:
    return bool(lease.cursors) and not any(row_filter != {} for row_filter in lease.row_filters)


async def widen_followers(conn: Connection, lineage: Lineage, rewritten: Rewritten) -> None:
    """Let the locked, blocked followers of outputs read all rows.

    Followers without such a task, because it was canceled, are left with unread rows.
    """
    follows = [
        (task, dataset, follower)
        for task, datasets in rewritten.items()
        for dataset in datasets
        for follower in _followers(lineage, dataset)
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


def _followers(lineage: Lineage, dataset: UUID) -> Sequence[Job]:
    return [
        lineage.job(edge.job) for edge in lineage.readers(dataset) if edge.input.cursor is not None
    ]


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
