"""Cancel tasks, one by one or all that match a filter."""

from collections.abc import Sequence
from uuid import UUID

from engine.errors import InvalidInput, UnknownName
from engine.flow.execution.attempts import Attempt, record_attempt
from engine.flow.execution.dependents import resolve_dependents
from engine.flow.execution.stale_decisions import StaleDecision, leave_rows_unread, leave_stale
from engine.flow.execution.unverified import mark_partly_written, mark_unverified
from engine.flow.shared.org_context import OrgContext
from engine.lineage.graph import Lineage
from engine.model.states import FINISHED_STATUSES, AttemptOutcome, StaleDecisionKind, TaskStatus
from engine.store.database import Connection
from engine.store.orgs import lock_planning
from engine.store.rows.tasks import LockedTask, TaskId
from engine.store.run import execute, fetch, fetch_one

_CANCELED_AT_ONCE = 100


async def cancel(
    conn: Connection, org: OrgContext, task: UUID, outcome: str = "by hand", by: str | None = None
) -> None:
    """Cancel a task; its dependents proceed as if its outputs were unchanged.

    Raises UnknownName, or InvalidInput if the task has already ended.
    """
    async with conn.transaction():
        row = await fetch_one(conn, "tasks.lock_one", LockedTask, org_id=org.id, id=task)
        if row is None:
            raise UnknownName(f"there is no task {task} in this org: see 'knockon tasks'")
        if row.status in FINISHED_STATUSES:
            raise InvalidInput(f"task {task} is already {row.status} and cannot be canceled")
        await _cancel(conn, org, [row], outcome, by)


async def cancel_all(
    conn: Connection,
    org: OrgContext,
    statuses: Sequence[TaskStatus],
    job: str | None = None,
    by: str | None = None,
    dag: str | None = None,
    hidden: Sequence[str] | None = None,
) -> int:
    """Cancel all tasks in some unfinished statuses, of one job or of all; return their number.

    Tasks are canceled in batches, one transaction per batch, under the planning lock: a batch locks
    tasks of many blocks, in another order than a plan. Tasks created meanwhile are not canceled,
    nor are those of jobs with ``hidden`` full names.
    """
    count, after = 0, UUID(int=0)
    while True:
        async with conn.transaction():
            await lock_planning(conn, org.id)
            matching = await fetch(
                conn,
                "tasks.matching",
                TaskId,
                org_id=org.id,
                statuses=list(statuses),
                job=job,
                dag=dag,
                after=after,
                hidden=None if hidden is None else list(hidden),
                limit=_CANCELED_AT_ONCE,
            )
            if not matching:
                return count
            # Some may have been claimed or completed meanwhile; the tasks after them remain.
            ids = [row.id for row in matching]
            rows = await fetch(
                conn, "tasks.lock_in_statuses", LockedTask, ids=ids, statuses=list(statuses)
            )
            await _cancel(conn, org, rows, "by hand", by)
        count += len(rows)
        after = ids[-1]


async def _cancel(
    conn: Connection, org: OrgContext, rows: Sequence[LockedTask], outcome: str, by: str | None
) -> None:
    ids = [row.id for row in rows]
    for row in rows:
        if row.status == TaskStatus.RUNNING:
            await record_attempt(conn, row.id, Attempt(AttemptOutcome.CANCELED))
    person = f" ({by})" if by else ""
    await execute(conn, "tasks.cancel", ids=ids, outcome=f"canceled: {outcome}{person}")
    lineage = await org.lineage(conn)
    for row in rows:
        await _leave_stale(conn, org, lineage, row, by)
    await resolve_dependents(conn, org, lineage, ids)


async def _leave_stale(
    conn: Connection, org: OrgContext, lineage: Lineage, row: LockedTask, by: str | None
) -> None:
    await mark_unverified(conn, org, lineage, [(row.job_id, row.partitions)], f"task/{row.id}")
    decision = StaleDecision(StaleDecisionKind.CANCELED, by, task=row.id)
    await leave_stale(conn, lineage, {row.job_id: row.partitions}, decision)
    if job := lineage.find_job(row.job_id):
        await leave_rows_unread(conn, lineage, [(job, row.row_filters)], decision)
    if row.status == TaskStatus.RUNNING:
        await mark_partly_written(conn, lineage, row.job_id, row.partitions)
