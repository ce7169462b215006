"""Operator actions on tasks: retry and cancel."""

from uuid import UUID

from engine.errors import InvalidInput, UnknownName
from engine.flow.execution.attempts import Attempt, record_attempt
from engine.flow.execution.dependents import resolve_dependents
from engine.flow.execution.stale_decisions import StaleDecision, leave_rows_unread, leave_stale
from engine.flow.execution.unverified import mark_partly_written, mark_unverified
from engine.flow.shared.org_context import OrgContext
from engine.model.states import FINISHED_STATUSES, AttemptOutcome, StaleDecisionKind, TaskStatus
from engine.store.database import Connection
from engine.store.notifications import TASKS, notify
from engine.store.rows.tasks import LockedTask, TaskId
from engine.store.run import execute, fetch, fetch_one

_RETRIED_AT_ONCE = 500


async def cancel(
    conn: Connection, org: OrgContext, task: UUID, outcome: str = "by hand", by: str | None = None
) -> None:
    """Cancel a task; its dependents proceed as if its outputs were unchanged.

    Raises UnknownName, or InvalidInput if the task has already ended.
    """
    async with conn.transaction():
        row = await _locked(conn, org, task)
        if row.status in FINISHED_STATUSES:
            raise InvalidInput(f"task {task} is already {row.status} and cannot be canceled")
        await record_attempt(conn, task, Attempt(AttemptOutcome.CANCELED))
        await execute(conn, "tasks.cancel", ids=[task], outcome=f"canceled: {outcome}")
        lineage = await org.lineage(conn)
        await mark_unverified(conn, org, lineage, [(row.job_id, row.partitions)], f"task/{task}")
        decision = StaleDecision(StaleDecisionKind.CANCELED, by, task=task)
        await leave_stale(conn, lineage, {row.job_id: row.partitions}, decision)
        if job := lineage.find_job(row.job_id):
            await leave_rows_unread(conn, lineage, [(job, row.row_filters)], decision)
        if row.status == TaskStatus.RUNNING:
            await mark_partly_written(conn, lineage, row.job_id, row.partitions)
        await resolve_dependents(conn, org, [task])


async def retry(conn: Connection, org: OrgContext, *tasks: UUID) -> None:
    """Requeue failed tasks, all or none, with a fresh attempt count.

    Raises UnknownName, or InvalidInput if any of the tasks has not failed.
    """
    async with conn.transaction():
        for task in sorted(set(tasks)):
            row = await _locked(conn, org, task)
            if row.status != TaskStatus.FAILED:
                raise InvalidInput(
                    f"task {task} is {row.status}, not failed: "
                    "to have its partitions recomputed, invalidate them"
                )
        await _requeue(conn, org, list(set(tasks)))


async def retry_failed(conn: Connection, org: OrgContext, job: str | None = None) -> int:
    """Requeue all failed tasks of one job or, without ``job``, of all jobs; return their number.

    Tasks are requeued in batches of a few hundred, one transaction per batch. A task that fails
    again in the meantime is not retried twice.
    """
    count, after = 0, UUID(int=0)
    while True:
        async with conn.transaction():
            rows = await fetch(
                conn,
                "tasks.lock_failed",
                TaskId,
                org_id=org.id,
                job=job,
                after=after,
                limit=_RETRIED_AT_ONCE,
            )
            if not rows:
                return count
            await _requeue(conn, org, [row.id for row in rows])
        count += len(rows)
        after = rows[-1].id


async def _requeue(conn: Connection, org: OrgContext, tasks: list[UUID]) -> None:
    await execute(conn, "tasks.requeue", ids=tasks)
    await notify(conn, TASKS, org.id)


async def _locked(conn: Connection, org: OrgContext, task: UUID) -> LockedTask:
    row = await fetch_one(conn, "tasks.lock_one", LockedTask, org_id=org.id, id=task)
    if row is None:
        raise UnknownName(f"there is no task {task} in this org: see 'knockon tasks'")
    return row
