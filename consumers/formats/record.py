"""Plain records: each is a row that has come, in the partition that its fields tell."""

from collections.abc import Mapping
from functools import lru_cache

import msgspec

from consumers.formats.binding import Binding, Cells
from consumers.formats.confluent import Schemas
from consumers.formats.debezium import kinds_of
from consumers.formats.rows import rows_of
from engine.errors import InvalidEvent
from engine.model.event import SourceEvent

_SCHEMAS = 64


class Record:
    """The format of a topic of rows as JSON objects; `Binding` says what they are."""

    def __init__(self, binding: Binding, schemas: Schemas | None = None) -> None:
        self._binding = binding
        self._schemas = schemas
        self._rows = rows_of(binding)
        self._decoder = msgspec.json.Decoder(self._rows.json)
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
            there = self._plain(self._cells(value))
        else:
            schema, payload = self._schemas.unwrap(value)
            body = schema.read(payload)
            cells = self._cells(body) if isinstance(body, bytes) else self._binding.cells(body)
            there = self._learned(schema)(cells)
        return [self._binding.event(there, reason="arrival")]

    def _cells(self, value: bytes) -> Cells:
        try:
            return self._rows.place(self._decoder.decode(value))
        except (ValueError, RecursionError) as error:
            raise InvalidEvent(f"not a record: {error}; send one JSON object a message") from error
