"""Source events and the deliveries that carried them, before they are resolved to datasets."""

from collections.abc import Callable, Mapping, Sequence
from hashlib import sha256
from operator import attrgetter
from typing import Annotated

import msgspec
from msgspec import Meta

from engine.model.reported_lineage import ReportedLineage
from engine.model.run_report import RunReport
from engine.model.states import Reason
from engine.model.text import storable

MAX_TEXT = 500
"""Characters of a name, a key or an id: PostgreSQL indexes at most 2,704 bytes."""
MAX_LISTED = 10_000
"""Partitions or columns that one event may list."""
MAX_KEPT_BYTES = 16 * 1024 * 1024
"""Bytes of a rejected message that its dead letter keeps."""
_MAX_ERROR_CHARACTERS = 1000

MANUAL = "manual"
"""The stream of manual invalidations."""

POSTGRES = "postgres/"
"""Prefix of the streams of change logs, one per database."""

# JSON integers are unbounded, but the database stores 64 bits.
_Scalar = str | Annotated[int, Meta(ge=-(2**63), le=2**63 - 1)] | float | bool | None
_Condition = _Scalar | dict[str, _Scalar | list[_Scalar]]
RowFilterSpec = Annotated[dict[str, _Condition], Meta(min_length=1)]
_Text = Annotated[str, Meta(min_length=1, max_length=MAX_TEXT)]
_Texts = Annotated[tuple[_Text, ...], Meta(min_length=1, max_length=MAX_LISTED)]


class SourceEvent(msgspec.Struct, frozen=True, kw_only=True, forbid_unknown_fields=True):
    """One change of one dataset: Knockon's own event, and the result of reading every format.

    ``partitions`` lists keys and inclusive ranges (``2013-02-01..2013-02-07``,
    ``dt=2013-02-13/origin=JFK``); null means the entire dataset. ``columns`` null means unknown.
    ``rows`` is a row filter. ``version`` is a dataset version; null means the current one.
    ``fingerprint`` is a hash or version of the data in each of the partitions of a source.
    ``id`` identifies the event in explanations and is the idempotency key of manual invalidations.
    """

    dataset: _Text
    partitions: _Texts | None = None
    columns: _Texts | None = None
    rows: RowFilterSpec | None = None
    reason: Reason = Reason.CHANGE
    version: _Text | None = None
    id: _Text | None = None
    time: str | None = None
    source: str | None = None
    note: str | None = None
    fingerprint: _Text | None = None


class Widened(SourceEvent, frozen=True, kw_only=True, forbid_unknown_fields=True):
    """An event that covers more than the actual change; ``note`` gives the reason."""


scope_except_rows = attrgetter(
    "__class__", "dataset", "partitions", "columns", "reason", "version", "fingerprint"
)
"""The scope of an event without its row filter, and without fields that only inform people."""


def scope_of(event: SourceEvent) -> object:
    """The hashable scope of an event, row filter included: equal for events of the same change."""
    rows = None if event.rows is None else msgspec.json.encode(event.rows, order="sorted")
    return scope_except_rows(event), rows


def request_hash(event: SourceEvent) -> str:
    """A digest of the requested change, independent of the order of partitions and columns."""
    scope = (
        event.dataset,
        None if event.partitions is None else sorted(set(event.partitions)),
        None if event.columns is None else sorted(set(event.columns)),
        event.rows,
        event.reason,
        event.version,
        *(() if event.fingerprint is None else (event.fingerprint,)),
    )
    return sha256(msgspec.json.encode(scope, order="sorted")).hexdigest()


class Delivery(msgspec.Struct, frozen=True, gc=False):
    """A message at its position in a stream, as received; also one of several events in a message.

    Exempt from garbage collection (``gc=False``) because it is never part of a reference cycle.
    """

    stream: str
    position: str
    value: bytes | None = None
    headers: Mapping[str, str] = {}


class Rejection(msgspec.Struct, frozen=True, kw_only=True):
    """A dead letter: a delivery that could not be read or applied, and the reason.

    ``is_loss``: the messages no longer exist or cannot be fetched, so a replay is impossible.
    """

    stream: str
    position: str
    payload: bytes | None
    error: str
    headers: dict[str, str] = {}
    is_loss: bool = False


def rejection(delivery: Delivery, error: str) -> Rejection:
    """The dead letter of a delivery: truncated to 16 MiB, with text that PostgreSQL can store."""
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
    """Events of one stream with the same scope: the first event, and the delivery of each.

    ``deliveries`` and ``ids`` have one entry per event, in stream order. ``by`` is the user who
    requested a manual change.
    """

    event: SourceEvent
    stream: str
    deliveries: Sequence[Delivery]
    ids: Sequence[str | None]
    by: str | None = None

    @classmethod
    def one(cls, event: SourceEvent, delivery: Delivery, by: str | None = None) -> "Received":
        """Wrap a single event."""
        stream = delivery.stream
        return cls(event=event, stream=stream, deliveries=(delivery,), ids=(event.id,), by=by)

    @property
    def count(self) -> int:
        """The number of events."""
        return len(self.ids)

    def part(self, start: int, end: int | None) -> "tuple[Received]":
        """The events with indexes from ``start`` to ``end``."""
        deliveries, ids = self.deliveries[start:end], self.ids[start:end]
        return (msgspec.structs.replace(self, deliveries=deliveries, ids=ids),)


def halved(
    received: Sequence[Received],
) -> tuple[Sequence[Received], Sequence[Received]] | None:
    """Split events into two halves; None for a single event."""
    middle = len(received) // 2
    if middle:
        return received[:middle], received[middle:]
    middle = received[0].count // 2
    return (received[0].part(0, middle), received[0].part(middle, None)) if middle else None


class Advance(msgspec.Struct, frozen=True, kw_only=True):
    """The move of a stream's position from ``before`` (None: not stored yet) to ``after``."""

    stream: str
    before: str | None
    after: str


class RunReports(msgspec.Struct, frozen=True, kw_only=True):
    """Events of OpenLineage runs from one feed, in order, and the reader of that feed.

    ``read`` reads a synthesized end event with all outputs that earlier events of a run announced.
    """

    feed: str
    reports: Sequence[RunReport]
    read: Callable[[Delivery], list[Received] | Rejection]


class Batch(msgspec.Struct, frozen=True, kw_only=True):
    """The input of one transaction of a consumer, ingested completely or not at all."""

    consumer: str
    received: tuple[Received, ...] = ()
    rejections: tuple[Rejection, ...] = ()
    advances: tuple[Advance, ...] = ()
    reported_lineage: tuple[ReportedLineage, ...] = ()
    runs: tuple[RunReports, ...] = ()

    @property
    def widened(self) -> list[SourceEvent]:
        """The widened events, each repeated as often as it was received."""
        return [
            received.event
            for received in self.received
            if isinstance(received.event, Widened)
            for _ in received.ids
        ]
