"""Reading the records of one partition; events with the same scope are grouped."""

from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass, field
from types import MappingProxyType
from typing import Any

from aiokafka import ConsumerRecord

from consumers.formats.reading import Reader, received_singly
from engine.errors import InvalidEvent
from engine.garbage_collection import gc_paused
from engine.model.event import (
    Delivery,
    Received,
    Rejection,
    SourceEvent,
    rejection,
    scope_except_rows,
)
from engine.secrets import redacted

_NONE: Mapping[str, str] = MappingProxyType({})


@dataclass(slots=True)
class Outcome:
    """The events and rejections of some records of one stream."""

    stream: str
    received: list[Received] = field(default_factory=list)
    rejections: list[Rejection] = field(default_factory=list)
    _by_scope: dict[object, "_Deliveries"] = field(default_factory=dict)
    _by_identity: dict[int, "_Deliveries"] = field(default_factory=dict)

    def add(self, event: SourceEvent, record: ConsumerRecord) -> None:
        """Add an event without row filter; creates objects only for the first event of a scope."""
        deliveries = self._by_identity.get(id(event))
        if deliveries is None:
            scope = scope_except_rows(event)
            deliveries = self._by_scope.get(scope)
            if deliveries is None:
                deliveries = self._by_scope[scope] = _Deliveries(self.stream)
                self.received.append(
                    Received(
                        event=event, stream=self.stream, deliveries=deliveries, ids=deliveries.ids
                    )
                )
                self._by_identity[id(event)] = deliveries
        deliveries.records.append(record)
        deliveries.ids.append(event.id)


class _Deliveries(Sequence[Delivery]):
    """The deliveries of records with one event each, constructed on access, which is rare."""

    def __init__(self, stream: str) -> None:
        self.records: list[ConsumerRecord] = []
        self.ids: list[str | None] = []
        self._stream = stream

    def __len__(self) -> int:
        return len(self.records)

    def __getitem__(self, index: Any) -> Any:
        if isinstance(index, slice):
            return [delivery(self._stream, record) for record in self.records[index]]
        return delivery(self._stream, self.records[index])


@gc_paused()
def read(reader: Reader, stream: str, records: Iterable[ConsumerRecord]) -> Outcome:
    """Read some records; reject messages that cannot be read."""
    outcome = Outcome(stream)
    for record in records:
        try:
            events = reader.events(record.value, _headers(record) if record.headers else _NONE)
        except InvalidEvent as error:
            outcome.rejections.append(rejection(delivery(stream, record), redacted(str(error))))
            continue
        if len(events) == 1 and events[0].rows is None:
            outcome.add(events[0], record)
        else:
            outcome.received += received_singly(delivery(stream, record), events)
    return outcome


def delivery(stream: str, record: ConsumerRecord) -> Delivery:
    """The delivery of a record, at its position in a stream."""
    return Delivery(
        stream=stream,
        position=str(record.offset),
        value=record.value,
        headers=_headers(record) if record.headers else _NONE,
    )


def _headers(record: ConsumerRecord) -> Mapping[str, str]:
    return {
        name.lower(): (value or b"").decode(errors="backslashreplace")
        for name, value in record.headers
    }
