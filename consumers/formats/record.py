"""Plain records: each is a row that has come, in the partition that its fields tell."""

from collections.abc import Mapping
from functools import lru_cache

import msgspec
from msgspec import Raw

from consumers.formats.binding import Binding, Row
from consumers.formats.confluent import Schemas
from consumers.formats.debezium import kinds_of
from engine.errors import InvalidEvent
from engine.model.event import SourceEvent

_SCHEMAS = 64
_decoder = msgspec.json.Decoder(dict[str, Raw])


class Record:
    """The format of a topic of rows as JSON objects; `Binding` says what they are."""

    def __init__(self, binding: Binding, schemas: Schemas | None = None) -> None:
        self._binding = binding
        self._schemas = schemas
        self._plain = binding.placer({})
        self._learned = lru_cache(_SCHEMAS)(lambda schema: binding.placer(kinds_of(schema)))

    def __call__(
        self, value: bytes | None, headers: Mapping[str, str], dataset: str | None
    ) -> list[SourceEvent]:
        """See `Format`."""
        if value is None:
            raise InvalidEvent(
                "null value: a tombstone does not tell in which partition its record lay; "
                "invalidate by hand what may be gone, or read change events (format: debezium)"
            )
        if self._schemas is None:
            there = self._plain(_row(value))
        else:
            schema, payload = self._schemas.unwrap(value)
            body = schema.read(payload)
            there = self._learned(schema)(_row(body) if isinstance(body, bytes) else body)
        return [self._binding.event(there, reason="arrival")]


def _row(value: bytes) -> Row:
    try:
        row: Row = _decoder.decode(value)
    except (ValueError, RecursionError) as error:
        raise InvalidEvent(f"not a record: {error}; send one JSON object a message") from error
    return row
