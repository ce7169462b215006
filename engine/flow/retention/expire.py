"""Remove history after its retention period, except for rows that explain existing partitions.

Sessions that have ended are removed as well.
"""

from engine.flow.retention.archive import (
    ATTEMPTS,
    DEAD_LETTERS,
    EVENTS,
    INVALIDATIONS,
    PLANS,
    TASKS,
)
from engine.store.database import Connection
from engine.store.rows.history import ExpiredMonth
from engine.store.run import execute, fetch_one

_ALL_DAYS = 100_000.0
"""Longer than any history; PostgreSQL has no times before 4713 BC."""


async def expire(
    conn: Connection,
    history_days: float,
    key_days: float,
    message_days: float,
    events_days: float,
) -> list[str]:
    """Remove a month of each kind of history, of all orgs; return the names of the partitions.

    The retention periods are those of history, of idempotency keys, of the identities of messages
    over HTTP and of events; infinite periods never end.
    """
    history_days, key_days, message_days, events_days = (
        min(days, _ALL_DAYS) for days in (history_days, key_days, message_days, events_days)
    )
    await execute(conn, "history.expire_keys", days=key_days)
    await execute(conn, "messages.expire", days=message_days)
    await execute(conn, "sessions.expire")
    await execute(conn, "history.expire_rejected_plans", days=history_days)
    # Attempts at a kept task are removed: the task contains its last error.
    rows = [
        await fetch_one(conn, "history.drop_month", ExpiredMonth, history=history, days=days)
        for history, days in ((ATTEMPTS, history_days), (EVENTS, events_days))
    ]
    await execute(conn, "orgs.expire_stored_logs", days=history_days)
    # A kept task keeps its plans, and a kept plan its invalidations.
    rows += [
        await fetch_one(conn, "history.expire", ExpiredMonth, history=history, days=history_days)
        for history in (TASKS, PLANS, INVALIDATIONS, DEAD_LETTERS)
    ]
    return [row.month for row in rows if row is not None and row.month is not None]
