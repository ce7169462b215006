"""Rows of the statements in `sql/queries/events.sql`."""

import msgspec


class PublisherLock(msgspec.Struct, frozen=True):
    """Whether this transaction may assign positions, and whether there are events without one."""

    is_held: bool
    has_pending: bool


class ExpiredEvents(msgspec.Struct, frozen=True):
    """The last position removed from an org's events."""

    position: int


class NewestPosition(msgspec.Struct, frozen=True):
    """The position of the newest event of an org."""

    position: int
