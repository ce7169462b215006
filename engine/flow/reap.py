"""Reap: a lease that ran out ends its attempt, as if the worker had said that it failed."""

from engine.flow.fail import end_attempt
from engine.flow.scene import Scene
from engine.store.bells import TASKS, ring
from engine.store.database import Connection
from engine.store.run import fetch


async def reap(conn: Connection, scene: Scene, limit: int = 100) -> int:
    """End up to ``limit`` attempts whose lease has expired; returns how many there were."""
    async with conn.transaction():
        expired = await fetch(conn, "tasks.lock_expired", org_id=scene.org_id, limit=limit)
        for row in expired:
            error = (
                f"worker {row['worker_id']!r} has not been heard of since its lease ran out "
                f"at {row['lease_expires_at']:%Y-%m-%d %H:%M:%S %Z}"
            )
            await end_attempt(conn, scene, row, error)
        if expired:
            await ring(conn, TASKS, scene.org_id)
    return len(expired)
