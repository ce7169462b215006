"""Attempts at tasks, recorded when they end, with the end of the log."""

from collections.abc import Sequence
from dataclasses import dataclass
from uuid import UUID

from engine.model.states import AttemptOutcome
from engine.model.task import MAX_LOG_BYTES, Lease
from engine.model.text import bounded_tail
from engine.store.database import Connection
from engine.store.run import execute

_ERROR_LENGTH = 65_536


@dataclass(frozen=True, slots=True)
class Attempt:
    """An ended, unsuccessful attempt; ``log`` is the output of the run as text."""

    outcome: AttemptOutcome
    error: str = ""
    log: str = ""


async def record_attempt(conn: Connection, task: UUID, attempt: Attempt) -> None:
    """Record the attempt at a locked task if the task is running; the task must end afterwards."""
    await execute(
        conn,
        "attempts.record",
        id=task,
        outcome=attempt.outcome,
        error=attempt.error[:_ERROR_LENGTH] or None,
        log=bounded_tail(attempt.log, MAX_LOG_BYTES),
    )


async def store_running_logs(conn: Connection, logs: Sequence[tuple[Lease, str]]) -> None:
    """Store the output of running attempts so far, as text by lease."""
    await execute(
        conn,
        "attempts.store_running",
        ids=[lease.task_id for lease, _ in logs],
        tokens=[lease.token for lease, _ in logs],
        logs=[bounded_tail(log, MAX_LOG_BYTES) for _, log in logs],
    )


async def add_log(conn: Connection, lease: Lease, log: str) -> None:
    """Add the output of a run to its attempt, which was canceled or whose lease has expired."""
    bounded = bounded_tail(log, MAX_LOG_BYTES)
    ids = {"task": lease.task_id, "worker": lease.worker_id}
    await execute(conn, "attempts.add_log", **ids, log=bounded)
