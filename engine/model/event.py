"""What upstream said, understood but not yet held against any dataset."""

from typing import Annotated, Literal

import msgspec
from msgspec import Meta

from engine.model.told import Told

MAX_TEXT = 500
"""Characters of a name, a key or an id: PostgreSQL indexes at most 2,704 bytes."""
MAX_LISTED = 10_000
"""Partitions or columns of one event."""

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
# JSON may hold any integer; what stores it holds 64 bits
_Scalar = str | Annotated[int, Meta(ge=-(2**63), le=2**63 - 1)] | float | bool | None
_Condition = _Scalar | dict[str, _Scalar | list[_Scalar]]
RowFilterSpec = Annotated[dict[str, _Condition], Meta(min_length=1)]
_Text = Annotated[str, Meta(min_length=1, max_length=MAX_TEXT)]
_Texts = Annotated[tuple[_Text, ...], Meta(min_length=1, max_length=MAX_LISTED)]


class SourceEvent(msgspec.Struct, frozen=True, kw_only=True, forbid_unknown_fields=True):
    """One change of one dataset: Knockon's own event, and what every format is read into.

    ``partitions`` holds keys and inclusive ranges (``2013-02-01..2013-02-07``,
    ``dt=2013-02-13/origin=JFK``); null means all of the dataset. ``columns`` null means unknown.
    ``rows`` is a row filter. ``version`` names a generation; null means the one that is served.
    ``id`` names the event to whoever asks why; by hand it is the idempotency key.
    """

    dataset: _Text
    partitions: _Texts | None = None
    columns: _Texts | None = None
    rows: RowFilterSpec | None = None
    reason: Reason = "change"
    version: _Text | None = None
    id: _Text | None = None
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


class Received(msgspec.Struct, frozen=True, kw_only=True, gc=False):
    """One understood event and where it was read: ``stream`` and ``position`` within it.

    A batch holds thousands, in no circle, which the garbage collector need not look through.
    """

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
    told: tuple[Told, ...] = ()

    @property
    def widened(self) -> list[Widened]:
        """The events that say more than may have changed."""
        return [each.event for each in self.received if isinstance(each.event, Widened)]
