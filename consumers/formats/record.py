"""Plain records: each is a row that has come, in the partition that its fields tell."""

from collections.abc import Mapping
from functools import lru_cache

import msgspec
from msgspec import Raw

from consumers.formats.binding import Binding, Cells, Place
from consumers.formats.confluent import Schemas
from consumers.formats.connect import KINDS, Fields, declared_fields, kinds_of
from consumers.formats.doubts import AS_NULL, Doubts
from consumers.formats.rows import rows_of
from engine.errors import InvalidEvent
from engine.model.event import SourceEvent

_SCHEMAS = 64
_ENVELOPE = ("schema", "payload")
_TOMBSTONE = (
    "null value: a tombstone does not tell in which partition its record lay; "
    "invalidate by hand what may be gone, or read change events (format: debezium)"
)


class _Envelope(msgspec.Struct, forbid_unknown_fields=True):
    """A record as Kafka Connect's JSON converter writes it, with its schema."""

    schema: Raw
    payload: Raw


class _Shape:
    """The rows of one schema, and where they lie."""

    def __init__(self, binding: Binding, fields: Fields) -> None:
        keeps_nulls = binding.source.replace_null_with_default is False
        self._doubts = Doubts(fields, frozenset(), is_full=True, keeps_nulls=keeps_nulls)
        self._fields = binding.partition_fields
        self._place = binding.placer(kinds_of(fields, KINDS))

    def place(self, cells: Cells) -> Place:
        """Where a row lies; a value that may stand for a null holds no key."""
        if self._doubts.is_settled:
            return self._place(cells)
        pairs = list(zip(self._fields, cells, strict=True))
        told = [None if self._doubts.may_be_null(*pair) else pair[1] for pair in pairs]
        found = self._place(tuple(told))
        hidden = self._doubts.hidden_nulls(self._fields, cells)
        return found._replace(unsure=AS_NULL) if hidden else found


class Record:
    """The format of a topic of rows as JSON objects; `Binding` says what they are."""

    def __init__(self, binding: Binding, schemas: Schemas | None = None) -> None:
        self._binding = binding
        self._schemas = schemas
        self._rows = rows_of(binding)
        self._decoder = msgspec.json.Decoder(self._rows.json)
        self._envelopes = msgspec.json.Decoder(_Envelope)
        self._has_envelopes = set(_ENVELOPE).isdisjoint(binding.partition_fields)
        self._plain = _Shape(binding, {})
        self._wrapped = lru_cache(_SCHEMAS)(lambda schema: _Shape(binding, declared_fields(schema)))
        self._learned = lru_cache(_SCHEMAS)(lambda schema: _Shape(binding, schema.fields()))

    def __call__(
        self, value: bytes | None, headers: Mapping[str, str], dataset: str | None
    ) -> list[SourceEvent]:
        """See `Format`."""
        if value is None:
            raise InvalidEvent(_TOMBSTONE)
        if self._schemas is None:
            there = self._json(value)
        else:
            schema, payload = self._schemas.unwrap(value)
            body = schema.read(payload)
            cells = self._cells(body) if isinstance(body, bytes) else self._binding.cells(body)
            there = self._learned(schema).place(cells)
        return [self._binding.event(there, reason="arrival")]

    def _json(self, value: bytes) -> Place:
        envelope = self._envelope(value) if self._has_envelopes else None
        if envelope is None:
            return self._plain.place(self._cells(value))
        payload = bytes(envelope.payload)
        if payload == b"null":
            raise InvalidEvent(_TOMBSTONE)
        return self._wrapped(bytes(envelope.schema)).place(self._cells(payload))

    def _envelope(self, value: bytes) -> _Envelope | None:
        """The envelope with a record's schema, if the record comes in one."""
        if b'"payload"' not in value:
            return None
        try:
            found = self._envelopes.decode(value)
        except (ValueError, RecursionError):
            return None
        return found if bytes(found.schema)[:1] in b"{n" else None

    def _cells(self, value: bytes) -> Cells:
        try:
            return self._rows.place(self._decoder.decode(value))
        except (ValueError, RecursionError) as error:
            raise InvalidEvent(f"not a record: {error}; send one JSON object a message") from error
