"""From rows of the change log to what Knockon ingests (pure)."""

from collections.abc import Iterable
from typing import Annotated, Literal

import msgspec

from engine.model.event import Advance, Batch, Delivery, Received, Rejection, SourceEvent, Widened

_MISSED = "changes may be gone that the reader had not taken in, or have been undone in the source"
_Text = Annotated[str, msgspec.Meta(min_length=1)]
_Texts = Annotated[tuple[_Text, ...], msgspec.Meta(min_length=1)]


class _Change(msgspec.Struct, frozen=True):
    id: int
    source: str | None
    dataset: _Text
    kind: Literal["insert", "update", "delete", "truncate", "altered"]
    partitions: _Texts | None
    columns: _Texts | None
    changed_at: str


def to_batch(
    consumer: str, stream: str, changes: Iterable[tuple[int, str]], before: str | None, after: str
) -> Batch:
    """One batch of log rows, each (log id, JSON text), that moves the position."""
    read = [_read(stream, id_, text) for id_, text in changes]
    return Batch(
        consumer=consumer,
        received=tuple(each for each in read if isinstance(each, Received)),
        rejections=tuple(each for each in read if isinstance(each, Rejection)),
        advances=(Advance(stream=stream, before=before, after=after),),
    )


def missed(
    consumer: str, stream: str, datasets: Iterable[str], before: str | None, after: str
) -> Batch:
    """A batch that marks whole datasets as changed, since changes may be gone unread."""
    return Batch(
        consumer=consumer,
        received=tuple(_widened(stream, dataset, "missed", _MISSED) for dataset in datasets),
        advances=(Advance(stream=stream, before=before, after=after),),
    )


def drifted(consumer: str, stream: str, dataset: str, state: str, report: str) -> Batch:
    """A batch that marks a dataset as changed, whose table has changed underneath."""
    return Batch(consumer=consumer, received=(_widened(stream, dataset, f"drift:{state}", report),))


def _widened(stream: str, dataset: str, position: str, note: str) -> Received:
    event = Widened(dataset=dataset, id=f"pg:{stream}:{position}", source=stream, note=note)
    again = msgspec.json.encode(event)
    return Received.one(event, Delivery(stream, position, again))


def _read(stream: str, id_: int, text: str) -> Received | Rejection:
    payload = text.encode()
    try:
        event = _event(stream, msgspec.json.decode(payload, type=_Change))
    except msgspec.DecodeError as error:
        why = f"row {id_} of knockon_source.changes: {error}; mend the payload and replay it"
        return Rejection(stream=stream, position=str(id_), payload=payload, error=why)
    # As Knockon's own event, so that it can be replayed should its dataset not be known yet.
    again = msgspec.json.encode(event)
    return Received.one(event, Delivery(stream, str(id_), again))


def _event(stream: str, change: _Change) -> SourceEvent:
    make = Widened if change.kind == "altered" else SourceEvent
    return make(
        dataset=change.dataset,
        partitions=change.partitions,
        columns=change.columns,
        reason="arrival" if change.kind == "insert" else "change",
        id=f"pg:{stream}:{change.id}",
        time=change.changed_at,
        source=change.source,
        note=change.kind,
    )
