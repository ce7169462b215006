"""The doorbells' names: a NOTIFY wakes a loop, and never carries truth."""

from uuid import UUID

from engine.store.database import Connection
from engine.store.run import execute

INVALIDATIONS = "knockon_invalidations"
TASKS = "knockon_tasks"


async def ring(conn: Connection, bell: str, org_id: UUID) -> None:
    """Wake whoever listens to ``bell`` for an org, when the transaction commits."""
    await execute(conn, "tasks.ring", bell=bell, org_id=org_id)
