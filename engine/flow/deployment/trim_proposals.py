"""Trim old proposals that were never applied."""

from engine.flow.shared.org_context import Scene
from engine.store.database import Connection
from engine.store.run import execute

_DAYS = 7


async def trim(conn: Connection, scene: Scene) -> int:
    """Delete proposals older than a week; return the number deleted."""
    return await execute(conn, "plans.trim", org_id=scene.org_id, days=_DAYS)
