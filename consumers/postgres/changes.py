"""Conversion of change log rows to batches for ingestion (pure)."""

from collections.abc import Iterable
from typing import Annotated, Literal

import msgspec

from engine.model.event import Advance, Batch, Delivery, Received, Rejection, SourceEvent, Widened
from engine.model.states import Reason

_MISSED = "changes may have been trimmed before they were read, or undone in the source"
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
    """A batch of log rows, each (log id, JSON text), that advances the position."""
    outcomes = [_read(stream, id_, text) for id_, text in changes]
    return Batch(
        consumer=consumer,
        received=tuple(outcome for outcome in outcomes if isinstance(outcome, Received)),
        rejections=tuple(outcome for outcome in outcomes if isinstance(outcome, Rejection)),
        advances=(Advance(stream=stream, before=before, after=after),),
    )


def missed(
    consumer: str, stream: str, datasets: Iterable[str], before: str | None, after: str
) -> Batch:
    """A batch that marks entire datasets as changed, because changes may have been lost unread."""
    return Batch(
        consumer=consumer,
        received=tuple(_widened(stream, dataset, "missed", _MISSED) for dataset in datasets),
        advances=(Advance(stream=stream, before=before, after=after),),
    )


def drifted(consumer: str, stream: str, dataset: str, state: str, report: str) -> Batch:
    """A batch that marks a dataset as changed because its table has drifted."""
    return Batch(consumer=consumer, received=(_widened(stream, dataset, f"drift:{state}", report),))


def _widened(stream: str, dataset: str, position: str, note: str) -> Received:
    event = Widened(dataset=dataset, id=f"pg:{stream}:{position}", source=stream, note=note)
    return Received.one(event, Delivery(stream, position, msgspec.json.encode(event)))


def _read(stream: str, id_: int, text: str) -> Received | Rejection:
    payload = text.encode()
    try:
        event = _event(stream, msgspec.json.decode(payload, type=_Change))
    except msgspec.DecodeError as error:
        why = f"row {id_} of knockon_source.changes: {error}; correct the payload and replay it"
        return Rejection(stream=stream, position=str(id_), payload=payload, error=why)
    # The payload is the converted event, which can be replayed if the dataset is deployed later.
    return Received.one(event, Delivery(stream, str(id_), msgspec.json.encode(event)))


def _event(stream: str, change: _Change) -> SourceEvent:
    make = Widened if change.kind == "altered" else SourceEvent
    return make(
        dataset=change.dataset,
        partitions=change.partitions,
        columns=change.columns,
        reason=Reason.ARRIVAL if change.kind == "insert" else Reason.CHANGE,
        id=f"pg:{stream}:{change.id}",
        time=change.changed_at,
        source=change.source,
        note=change.kind,
    )
