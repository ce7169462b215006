"""Leases of workers without a connection to the database, kept as given to them.

A report names only the task and the token. Outputs, versions and partitions are compared with the
stored lease, so that no worker can write beyond it.
"""

from collections.abc import Sequence
from typing import Self
from uuid import UUID

import msgspec
from psycopg.types.json import Jsonb

from engine.errors import LeaseLost
from engine.flow.shared.org_context import OrgContext
from engine.model.task import Lease
from engine.model.task_token import TaskToken
from engine.store.database import Connection
from engine.store.rows.worker_leases import HeldLease, LeaseTerms
from engine.store.run import execute, fetch_one


class StoredLease(msgspec.Struct, frozen=True):
    """A lease, and the seconds by which a heartbeat extends it."""

    lease: Lease
    lease_seconds: int

    @classmethod
    def read(cls, row: LeaseTerms) -> Self:
        """Return the stored lease."""
        return msgspec.convert(row.terms, cls)


async def store_leases(
    conn: Connection,
    org: OrgContext,
    leases: Sequence[Lease],
    lease_seconds: int,
    *,
    key: UUID | None = None,
    user: UUID | None = None,
) -> None:
    """Store leases in the transaction of their claim; they end with its ``key`` and ``user``."""
    terms = [msgspec.to_builtins(StoredLease(lease, lease_seconds)) for lease in leases]
    await execute(
        conn,
        "worker_leases.store",
        org_id=org.id,
        tasks=[lease.task_id for lease in leases],
        tokens=[lease.token for lease in leases],
        terms=[Jsonb(each) for each in terms],
        key=key,
        user=user,
    )


async def held_lease(conn: Connection, token: TaskToken) -> StoredLease:
    """Return the lease of a token. Raises LeaseLost if it is not held, whatever the reason."""
    row = await fetch_one(conn, "worker_leases.held", LeaseTerms, **_of(token))
    if row is None:
        raise lease_lost(token.task_id)
    return StoredLease.read(row)


async def require_lease(conn: Connection, token: TaskToken) -> None:
    """Raise LeaseLost if the lease of a token is not held, without reading the lease."""
    row = await fetch_one(conn, "worker_leases.is_held", HeldLease, **_of(token))
    if row is None:
        raise lease_lost(token.task_id)


def lease_lost(task: UUID) -> LeaseLost:
    """Return the error for a report without a lease."""
    return LeaseLost(
        f"task {task} is not leased under this token: the lease expired, the task was canceled "
        "or has ended, or the key of the claim is not valid any more; stop the run, and discard "
        "its result"
    )


def _of(token: TaskToken) -> dict[str, UUID]:
    """Return the parameters of statements about the lease of a token."""
    return {"org_id": token.org_id, "task": token.task_id, "token": token.lease_token}
