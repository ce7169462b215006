"""Publish events: move those of committed transactions to the feed, and give them positions."""

from engine.store.database import Connection
from engine.store.rows.events import PublisherLock
from engine.store.run import execute, fetch_one

_BATCH = 20_000
"""A larger number reads a long backlog less often; a smaller one is visible sooner."""


async def publish(conn: Connection) -> bool:
    """Publish pending events of the orgs in turn; return True if more may be pending.

    One transaction at a time assigns positions. An event is visible to readers only together with
    all events at lower positions, so a reader that continues after a position misses none.
    """
    async with conn.transaction():
        lock = await fetch_one(conn, "events.lock", PublisherLock)
        if lock is None or not (lock.is_held and lock.has_pending):
            return False
        await execute(conn, "events.add_partition")
        return await execute(conn, "events.publish", limit=_BATCH) == _BATCH
