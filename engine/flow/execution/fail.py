"""Fail an attempt: the task is retried later, or marked as failed.

If a later change has queued a successor for the same block, the successor takes over the work.
"""

from uuid import UUID

from engine.errors import LeaseLost
from engine.flow.execution.attempts import Attempt, record_attempt
from engine.flow.execution.dependents import resolve_dependents
from engine.flow.execution.ignored_failures import release_dependents
from engine.flow.execution.unverified import mark_partly_written
from engine.flow.shared.org_context import OrgContext
from engine.lineage.graph import Lineage
from engine.model.states import AttemptOutcome
from engine.model.task import Lease
from engine.planner.strategy import MAX_FILTERS
from engine.store.database import Connection
from engine.store.notifications import TASKS, notify
from engine.store.rows.tasks import RunningTask, TaskId
from engine.store.run import execute, fetch_one

_LONGEST_BACKOFF = 300.0
_ERROR_LENGTH = 10_000


async def fail(
    conn: Connection,
    org: OrgContext,
    lease: Lease,
    error: str,
    *,
    retryable: bool = True,
    log: str = "",
) -> None:
    """Record a failed attempt. Raises LeaseLost if the lease is no longer valid."""
    async with conn.transaction():
        row = await fetch_one(
            conn, "tasks.lock_running", RunningTask, id=lease.task_id, token=lease.token
        )
        if row is None:
            raise LeaseLost(f"task {lease.task_id} is no longer leased by {lease.worker_id!r}")
        attempt = Attempt(AttemptOutcome.FAILED, error, log)
        await end_attempt(conn, org, row, attempt, retryable=retryable)


async def end_attempt(
    conn: Connection,
    org: OrgContext,
    row: RunningTask,
    attempt: Attempt,
    *,
    retryable: bool = True,
) -> None:
    """End an unsuccessful attempt of a locked, running task.

    The work passes to the successor if one is queued behind the task; otherwise the task is queued
    again, or has failed after its last attempt. Attempts are counted at the claim. Dependents stay
    blocked, on the task or on its successor, unless they ignore its failure. Written partitions are
    marked as partly written.
    """
    await record_attempt(conn, row.id, attempt)
    error = attempt.error[:_ERROR_LENGTH]
    lineage = await org.lineage(conn)
    await mark_partly_written(conn, lineage, row.job_id, row.partitions)
    successor = await fetch_one(
        conn, "tasks.lock_successor", TaskId, job_id=row.job_id, block_key=row.block_key
    )
    if successor is not None:
        await hand_over(conn, org, lineage, row.id, successor.id, error)
    elif retryable and row.attempts < lineage.job(row.job_id).max_attempts:
        seconds = backoff_seconds(row.attempts)
        await execute(conn, "tasks.retry_later", id=row.id, error=error, backoff_seconds=seconds)
    else:
        outcome = f"gave up after attempt {row.attempts}; retry or cancel it"
        await execute(conn, "tasks.give_up", id=row.id, error=error, outcome=outcome)
        await release_dependents(conn, org, [row.id])


async def hand_over(
    conn: Connection, org: OrgContext, lineage: Lineage, task: UUID, successor: UUID, error: str
) -> None:
    """Hand a task's work and dependents over to the successor queued behind it."""
    await execute(
        conn,
        "tasks.hand_over",
        id=task,
        successor=successor,
        error=error,
        max_filters=MAX_FILTERS,
    )
    await resolve_dependents(conn, org, lineage, [task])
    await notify(conn, TASKS, org.id)


def backoff_seconds(attempt: int) -> float:
    """Return the seconds to wait after the given attempt: 1, 2, 4, … up to five minutes."""
    return min(2.0 ** (attempt - 1), _LONGEST_BACKOFF)
