"""Reap expired leases: end each attempt as if the worker had reported a failure."""

from uuid import UUID

import structlog

from engine.flow.execution.attempts import Attempt
from engine.flow.execution.fail import end_attempt
from engine.flow.shared.org_context import OrgContext
from engine.model.states import AttemptOutcome
from engine.store.database import Connection
from engine.store.failures import is_due_to_data, reason_of
from engine.store.notifications import TASKS, notify
from engine.store.rows.tasks import ExpiredTask
from engine.store.run import fetch

_log = structlog.get_logger(__name__)


async def reap(conn: Connection, org: OrgContext, limit: int = 100) -> int:
    """End up to ``limit`` attempts with an expired lease; return the number ended.

    Attempts that cannot be ended are skipped, however many, so that they do not block the others.
    """
    ended, after = 0, UUID(int=0)
    async with conn.transaction():
        while not ended:
            expired = await fetch(
                conn, "tasks.lock_expired", ExpiredTask, org_id=org.id, after=after, limit=limit
            )
            if not expired:
                break
            after = expired[-1].id
            ended = sum([await _end(conn, org, row) for row in expired])
        if ended:
            # Ended attempts no longer count towards `max_concurrency`, and a dead worker claims
            # nothing in their place.
            await notify(conn, TASKS, org.id)
    return ended


async def _end(conn: Connection, org: OrgContext, row: ExpiredTask) -> bool:
    error = (
        f"worker {row.worker_id!r} has sent no heartbeat; its lease expired "
        f"at {row.lease_expires_at:%Y-%m-%d %H:%M:%S %Z}"
    )
    try:
        async with conn.transaction():
            await end_attempt(conn, org, row, Attempt(AttemptOutcome.LEASE_EXPIRED, error))
    except Exception as failure:
        if not is_due_to_data(failure):
            raise
        _log.error("attempt cannot be ended", task=str(row.id), why=reason_of(failure))
        return False
    return True
