"""Remove history after its retention period, except for rows that explain existing partitions."""

from engine.flow.retention.archive import ATTEMPTS, DEAD_LETTERS, INVALIDATIONS, PLANS, TASKS
from engine.store.database import Connection
from engine.store.rows.history import ExpiredMonth
from engine.store.run import execute, fetch_one

_ALL_DAYS = 100_000.0
"""Longer than any history; PostgreSQL has no times before 4713 BC."""


async def expire(conn: Connection, history_days: float, key_days: float) -> list[str]:
    """Remove a month of each kind of history, of all orgs; return the names of the partitions.

    ``history_days`` is the retention period of history, and ``key_days`` that of idempotency keys;
    infinite periods never end.
    """
    history_days, key_days = min(history_days, _ALL_DAYS), min(key_days, _ALL_DAYS)
    await execute(conn, "history.expire_keys", days=key_days)
    await execute(conn, "history.expire_rejected_plans", days=history_days)
    months = []
    # Attempts at a kept task are removed: the task contains its last error.
    dropped = await fetch_one(
        conn, "history.drop_month", ExpiredMonth, history=ATTEMPTS, days=history_days
    )
    if dropped is not None and dropped.month is not None:
        months.append(dropped.month)
    # A kept task keeps its plans, and a kept plan its invalidations.
    for history in (TASKS, PLANS, INVALIDATIONS, DEAD_LETTERS):
        row = await fetch_one(
            conn, "history.expire", ExpiredMonth, history=history, days=history_days
        )
        if row is not None and row.month is not None:
            months.append(row.month)
    return months
