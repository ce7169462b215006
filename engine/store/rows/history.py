"""Rows of the statements in `sql/queries/history.sql`."""

from uuid import UUID

import msgspec


class FinishedId(msgspec.Struct, frozen=True):
    """Finished work."""

    id: UUID


class ExpiredMonth(msgspec.Struct, frozen=True):
    """The partition of a history table that was removed; None if there was none."""

    month: str | None
