"""Rows of the statements in `sql/queries/history.sql`."""

from uuid import UUID

import msgspec


class FinishedId(msgspec.Struct, frozen=True):
    """Finished work."""

    id: UUID
