"""Leases of workers without a connection to the database, kept as given to them.

A report names only the task and the token. Outputs, versions and partitions are compared with the
stored lease, so that no worker can write beyond it.
"""

from collections.abc import Sequence
from typing import Any, Self
from uuid import UUID

import msgspec
from psycopg.types.json import Jsonb

from engine.errors import LeaseLost
from engine.flow.shared.org_context import OrgContext
from engine.model.task import Lease
from engine.model.task_token import TaskToken
from engine.store.database import Connection
from engine.store.rows.worker_leases import HeldLease, LeaseTerms
from engine.store.run import execute, fetch


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
    leases = await held_leases(conn, [token])
    if token not in leases:
        raise lease_lost(token.task_id)
    return leases[token]


async def held_leases(
    conn: Connection, tokens: Sequence[TaskToken]
) -> dict[TaskToken, StoredLease]:
    """Return the leases of those tokens of one org that are held."""
    rows = await fetch(conn, "worker_leases.held", LeaseTerms, **_of(tokens))
    org_id = tokens[0].org_id
    return {TaskToken(org_id, row.task_id, row.token): StoredLease.read(row) for row in rows}


async def held_tokens(conn: Connection, tokens: Sequence[TaskToken]) -> set[TaskToken]:
    """Return those tokens of one org whose leases are held, without reading the leases."""
    rows = await fetch(conn, "worker_leases.are_held", HeldLease, **_of(tokens))
    return {TaskToken(tokens[0].org_id, row.task_id, row.token) for row in rows}


def lease_lost(task: UUID) -> LeaseLost:
    """Return the error for a report without a lease."""
    return LeaseLost(
        f"task {task} is not leased under this token: the lease expired, the task was canceled "
        "or has ended, or the key of the claim is not valid any more; stop the run, and discard "
        "its result"
    )


def _of(tokens: Sequence[TaskToken]) -> dict[str, Any]:
    """Return the parameters of statements about the leases of tokens."""
    return {
        "org_id": tokens[0].org_id,
        "tasks": [token.task_id for token in tokens],
        "tokens": [token.lease_token for token in tokens],
    }
