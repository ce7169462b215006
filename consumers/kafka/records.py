"""From the records of one partition to what they say; those that say the same are gathered."""

from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass, field
from types import MappingProxyType
from typing import Any

from aiokafka import ConsumerRecord

from consumers.formats.reading import Reader, received_singly
from engine.errors import InvalidEvent
from engine.gc_pause import gc_paused
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
    """What some records of one stream came to."""

    stream: str
    received: list[Received] = field(default_factory=list)
    rejections: list[Rejection] = field(default_factory=list)
    _alike: dict[object, "_Alike"] = field(default_factory=dict)
    _known: dict[int, "_Alike"] = field(default_factory=dict)

    def gather(self, event: SourceEvent, record: ConsumerRecord) -> None:
        """Take in an event without rows; it costs no object where another has said the same."""
        alike = self._known.get(id(event))
        if alike is None:
            scope = scope_except_rows(event)
            alike = self._alike.get(scope)
            if alike is None:
                alike = self._alike[scope] = self._first(event)
                self._known[id(event)] = alike
        alike.records.append(record)
        alike.ids.append(event.id)

    def _first(self, event: SourceEvent) -> "_Alike":
        alike = _Alike(self.stream)
        received = Received(event=event, stream=self.stream, deliveries=alike, ids=alike.ids)
        self.received.append(received)
        return alike


class _Alike(Sequence[Delivery]):
    """Records with one event each, of which few are ever looked at as deliveries."""

    def __init__(self, stream: str) -> None:
        self.records: list[ConsumerRecord] = []
        self.ids: list[str | None] = []
        self._stream = stream

    def __len__(self) -> int:
        return len(self.records)

    def __getitem__(self, index: Any) -> Any:
        return delivery(self._stream, self.records[index])


@gc_paused()
def read(reader: Reader, stream: str, records: Iterable[ConsumerRecord]) -> Outcome:
    """Read some records. What cannot be understood is rejected."""
    outcome = Outcome(stream)
    for record in records:
        try:
            events = reader.events(record.value, _headers(record) if record.headers else _NONE)
        except InvalidEvent as error:
            outcome.rejections.append(rejection(delivery(stream, record), redacted(str(error))))
            continue
        if len(events) == 1 and events[0].rows is None:
            outcome.gather(events[0], record)
        else:
            outcome.received += received_singly(delivery(stream, record), events)
    return outcome


def delivery(stream: str, record: ConsumerRecord) -> Delivery:
    """The message of a record, at its position in a stream."""
    return Delivery(
        stream=stream,
        position=str(record.offset),
        value=record.value,
        headers=_headers(record) if record.headers else _NONE,
    )


def _headers(record: ConsumerRecord) -> Mapping[str, str]:
    return {name.lower(): _text(value) for name, value in record.headers}


def _text(value: bytes | None) -> str:
    return (value or b"").decode(errors="backslashreplace")
