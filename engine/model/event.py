"""What upstream said, understood but not yet held against any dataset."""

from collections.abc import Callable, Mapping, Sequence
from hashlib import sha256
from operator import attrgetter
from typing import Annotated, Literal

import msgspec
from msgspec import Meta

from engine.model.run_report import RunReport
from engine.model.text import storable
from engine.model.told import Told

MAX_TEXT = 500
"""Characters of a name, a key or an id: PostgreSQL indexes at most 2,704 bytes."""
MAX_LISTED = 10_000
"""Partitions or columns of one event."""
MAX_KEPT_BYTES = 16 * 1024 * 1024
"""Of a message that is rejected."""
_MAX_ERROR_CHARACTERS = 1000

MANUAL = "manual"
"""The stream of what is asked by hand."""

POSTGRES = "postgres/"
"""What the streams of change logs begin with: each is that of one database."""

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


said = attrgetter("__class__", "dataset", "partitions", "columns", "reason", "version")
"""What an event says, but for its rows; not what is only there for people."""


def scope_of(event: SourceEvent) -> object:
    """What is equal for events that say the same, rows included, and can be hashed."""
    rows = None if event.rows is None else msgspec.json.encode(event.rows, order="sorted")
    return said(event), rows


def request_hash(event: SourceEvent) -> str:
    """A digest of what an event requests, equal however its partitions and columns are ordered."""
    scope = (
        event.dataset,
        None if event.partitions is None else sorted(set(event.partitions)),
        None if event.columns is None else sorted(set(event.columns)),
        event.rows,
        event.reason,
        event.version,
    )
    return sha256(msgspec.json.encode(scope, order="sorted")).hexdigest()


class Delivery(msgspec.Struct, frozen=True, gc=False):
    """One message, or one event of several in it, as its transport gave it.

    In no circle, which the garbage collector need not look through.
    """

    stream: str
    position: str
    value: bytes | None = None
    headers: Mapping[str, str] = {}


class Rejection(msgspec.Struct, frozen=True, kw_only=True):
    """A delivery that could not be understood or used, kept whole with the reason.

    ``is_loss``: messages that are gone or cannot be had, so that nothing can be read again.
    """

    stream: str
    position: str
    payload: bytes | None
    error: str
    headers: dict[str, str] = {}
    is_loss: bool = False


def rejection(delivery: Delivery, error: str) -> Rejection:
    """The dead letter of a delivery: whole, but for what is beyond 16 MiB, and fit to be stored."""
    value = delivery.value
    if value is not None and len(value) > MAX_KEPT_BYTES:
        error = f"{error} (the first {MAX_KEPT_BYTES} of {len(value)} bytes are kept here)"
        value = value[:MAX_KEPT_BYTES]
    return Rejection(
        stream=delivery.stream,
        position=delivery.position,
        payload=value,
        error=storable(error)[:_MAX_ERROR_CHARACTERS],
        headers={storable(name): storable(text) for name, text in delivery.headers.items()},
    )


class Received(msgspec.Struct, frozen=True, kw_only=True):
    """Understood events of one stream that say the same: the first of them, and where each was.

    ``deliveries`` and ``ids`` have one for each event, in the order of the stream.
    """

    event: SourceEvent
    stream: str
    deliveries: Sequence[Delivery]
    ids: Sequence[str | None]

    @classmethod
    def one(cls, event: SourceEvent, delivery: Delivery) -> "Received":
        """A single event."""
        stream = delivery.stream
        return cls(event=event, stream=stream, deliveries=(delivery,), ids=(event.id,))

    @property
    def count(self) -> int:
        """How many events there are."""
        return len(self.ids)

    def part(self, start: int, end: int | None) -> "tuple[Received]":
        """Some of the events, by their places."""
        deliveries, ids = self.deliveries[start:end], self.ids[start:end]
        return (msgspec.structs.replace(self, deliveries=deliveries, ids=ids),)


def halved(
    received: Sequence[Received],
) -> tuple[Sequence[Received], Sequence[Received]] | None:
    """Two halves of what was received; None where there is a single event."""
    middle = len(received) // 2
    if middle:
        return received[:middle], received[middle:]
    middle = received[0].count // 2
    return (received[0].part(0, middle), received[0].part(middle, None)) if middle else None


class Advance(msgspec.Struct, frozen=True, kw_only=True):
    """A stream's position moves from ``before`` (null: none stored yet) to ``after``."""

    stream: str
    before: str | None
    after: str


class RunReports(msgspec.Struct, frozen=True, kw_only=True):
    """Events of OpenLineage runs from one feed, in order, and the reader of that feed.

    ``read`` reads the event that a run's end would have been, had it named all outputs.
    """

    feed: str
    reports: Sequence[RunReport]
    read: Callable[[Delivery], list[Received] | Rejection]


class Batch(msgspec.Struct, frozen=True, kw_only=True):
    """What one consumer took in one go: written in one transaction, or not at all."""

    consumer: str
    received: tuple[Received, ...] = ()
    rejections: tuple[Rejection, ...] = ()
    advances: tuple[Advance, ...] = ()
    told: tuple[Told, ...] = ()
    runs: tuple[RunReports, ...] = ()

    @property
    def widened(self) -> list[SourceEvent]:
        """What says more than may have changed, as often as it was said."""
        return [
            each.event
            for each in self.received
            if isinstance(each.event, Widened)
            for _ in each.ids
        ]
