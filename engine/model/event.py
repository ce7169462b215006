"""What upstream said, understood but not yet held against any dataset."""

from typing import Any, Literal

import msgspec

MANUAL = "manual"
"""The stream of what is asked by hand."""

Reason = Literal[
    "change",
    "arrival",
    "correction",
    "rewritten",
    "manual",
    "schema_change",
    "definition_change",
    "schedule",
]
RowFilterSpec = dict[str, Any]


class SourceEvent(msgspec.Struct, frozen=True, kw_only=True, forbid_unknown_fields=True):
    """One change of one dataset: Knockon's own event, and what every format is read into.

    ``partitions`` holds keys and inclusive ranges (``2013-02-01..2013-02-07``,
    ``dt=2013-02-13/origin=JFK``); null means all of the dataset. ``columns`` null means unknown.
    ``rows`` is a row filter. ``version`` names a generation; null means the one that is served.
    ``id`` names the event to whoever asks why; by hand it is the idempotency key.
    """

    dataset: str
    partitions: tuple[str, ...] | None = None
    columns: tuple[str, ...] | None = None
    rows: RowFilterSpec | None = None
    reason: Reason = "change"
    version: str | None = None
    id: str | None = None
    time: str | None = None
    source: str | None = None
    note: str | None = None


class Widened(SourceEvent, frozen=True, kw_only=True, forbid_unknown_fields=True):
    """An event that may say more than changed, since nobody knows better; ``note`` says why."""


class Rejection(msgspec.Struct, frozen=True, kw_only=True):
    """A delivery that could not be understood or used, kept whole with the reason."""

    stream: str
    position: str
    payload: bytes | None
    error: str
    headers: dict[str, str] = {}


class Received(msgspec.Struct, frozen=True, kw_only=True):
    """One understood event and where it was read: ``stream`` and ``position`` within it."""

    event: SourceEvent
    stream: str
    position: str
    payload: bytes | None = None
    headers: dict[str, str] = {}


class Advance(msgspec.Struct, frozen=True, kw_only=True):
    """A stream's position moves from ``before`` (null: none stored yet) to ``after``."""

    stream: str
    before: str | None
    after: str


class Batch(msgspec.Struct, frozen=True, kw_only=True):
    """What one consumer took in one go: written in one transaction, or not at all."""

    consumer: str
    received: tuple[Received, ...] = ()
    rejections: tuple[Rejection, ...] = ()
    advances: tuple[Advance, ...] = ()

    @property
    def widened(self) -> list[Widened]:
        """The events that say more than may have changed."""
        return [each.event for each in self.received if isinstance(each.event, Widened)]
