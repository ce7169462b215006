"""NOTIFY channels; a notification wakes loops and carries no data."""

from uuid import UUID

from engine.store.database import Connection
from engine.store.run import execute

INVALIDATIONS = "knockon_invalidations"
TASKS = "knockon_tasks"


async def notify(conn: Connection, channel: str, org_id: UUID) -> None:
    """Notify the listeners of a channel for an org when the transaction commits."""
    await execute(conn, "notifications.notify", channel=channel, org_id=org_id)
