"""Trim: proposals that nobody has applied go after a while."""

from engine.flow.scene import Scene
from engine.store.database import Connection
from engine.store.run import execute

_DAYS = 7


async def trim(conn: Connection, scene: Scene) -> int:
    """Delete proposals of more than a week ago; returns how many."""
    return await execute(conn, "plans.trim", org_id=scene.org_id, days=_DAYS)
