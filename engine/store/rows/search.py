"""Rows of `search.sql`."""

from uuid import UUID

import msgspec


class FoundId(msgspec.Struct, frozen=True):
    """A row found by its id; ``name`` is its job or dataset, null for a plan."""

    id: UUID
    name: str | None
    dag: str | None
