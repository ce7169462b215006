"""Rows of `search.sql`."""

from uuid import UUID

import msgspec


class FoundId(msgspec.Struct, frozen=True):
    """A row found by its id, with its job or dataset; a plan has neither."""

    id: UUID
    name: str | None
    dag: str | None
