"""Heartbeat: extend the leases of a live worker."""

from collections.abc import Sequence
from datetime import datetime
from uuid import UUID

from engine.model.task import Lease
from engine.store.database import Connection
from engine.store.rows.tasks import ExtendedLease
from engine.store.run import fetch


async def heartbeat(
    conn: Connection, leases: Sequence[Lease], lease_seconds: int
) -> dict[UUID, datetime]:
    """Extend leases; return the new expiry by task. A missing task has lost its lease."""
    leases = sorted(leases, key=lambda lease: lease.task_id)  # the order in which plans lock
    rows = await fetch(
        conn,
        "tasks.heartbeat",
        ExtendedLease,
        ids=[lease.task_id for lease in leases],
        tokens=[lease.token for lease in leases],
        lease_seconds=[lease.job.heartbeat_timeout_seconds or lease_seconds for lease in leases],
    )
    return {row.id: row.lease_expires_at for row in rows}
