"""Rows of `worker_leases.sql`."""

from typing import Any
from uuid import UUID

import msgspec


class LeaseTerms(msgspec.Struct, frozen=True):
    """A lease as given to its worker."""

    task_id: UUID
    token: UUID
    terms: dict[str, Any]


class HeldLease(msgspec.Struct, frozen=True):
    """A lease that is still held."""

    task_id: UUID
    token: UUID
