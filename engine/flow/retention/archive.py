"""Move finished work to the history, so that the tables of unfinished work stay small."""

from collections.abc import Iterable, Sequence
from datetime import UTC, datetime
from typing import Any
from uuid import UUID

from engine.flow.shared.org_context import OrgContext
from engine.store.database import Connection
from engine.store.rows.history import FinishedId
from engine.store.run import execute, fetch

TASKS = "knockon.tasks_history"
PLANS = "knockon.plans_history"
INVALIDATIONS = "knockon.data_invalidations_history"
ATTEMPTS = "knockon.task_attempts_history"
EVENTS = "knockon.events"
DEAD_LETTERS = "knockon.dead_letters_history"
_BATCH = 1000


async def archive(conn: Connection, org: OrgContext, seconds: float) -> int:
    """Move a batch of work of each kind that finished some seconds ago; return the rows moved.

    Nothing in the engine needs finished work: a dependency on a missing task counts as finished.
    Logs and remote leases of attempts that have ended are removed.
    """
    await execute(conn, "worker_leases.remove_ended", org_id=org.id)
    await execute(conn, "attempts.remove_running", org_id=org.id)
    params: dict[str, Any] = {"org_id": org.id, "seconds": seconds, "limit": _BATCH}
    async with conn.transaction():
        rows = await fetch(conn, "history.finished_tasks", FinishedId, **params)
        tasks = await move(conn, rows, TASKS, "history.move_tasks")
    async with conn.transaction():
        rows = await fetch(conn, "history.attempts_of_archived_tasks", FinishedId, **params)
        attempts = await move(conn, rows, ATTEMPTS, "history.move_attempts")
    async with conn.transaction():
        rows = await fetch(conn, "history.applied_plans", FinishedId, **params)
        plans = await move(conn, rows, PLANS, "history.move_plans")
    async with conn.transaction():
        rows = await fetch(conn, "history.processed_invalidations", FinishedId, **params)
        invalidations = await move(conn, rows, INVALIDATIONS, "history.move_invalidations")
    async with conn.transaction():
        rows = await fetch(conn, "history.closed_dead_letters", FinishedId, **params)
        letters = await move(conn, rows, DEAD_LETTERS, "history.move_dead_letters")
    return tasks + attempts + plans + invalidations + letters


async def move(conn: Connection, rows: Sequence[FinishedId], history: str, statement: str) -> int:
    """Move locked rows to a table of the history, and return their number."""
    ids = [row.id for row in rows]
    for month in _months(ids):
        await execute(conn, "history.add_partition", history=history, moment=month)
    return await execute(conn, statement, ids=ids) if ids else 0


def _months(ids: Iterable[UUID]) -> list[datetime]:
    """Return the first moments of the months in ids of version 7, in UTC and in order."""
    moments = (datetime.fromtimestamp((id_.int >> 80) / 1000, UTC) for id_ in ids)
    return sorted({datetime(moment.year, moment.month, 1, tzinfo=UTC) for moment in moments})
