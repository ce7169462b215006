"""NOTIFY channels: a notification wakes a loop and carries no data."""

from uuid import UUID

from engine.store.database import Connection
from engine.store.run import execute

INVALIDATIONS = "knockon_invalidations"
TASKS = "knockon_tasks"


async def ring(conn: Connection, bell: str, org_id: UUID) -> None:
    """Notify the listeners on the channel ``bell`` for an org when the transaction commits."""
    await execute(conn, "tasks.ring", bell=bell, org_id=org_id)
