"""Plain records: each message is a new row, in the partition that its fields determine."""

from collections.abc import Mapping
from functools import lru_cache

import msgspec
from msgspec import Raw

from consumers.formats.ambiguous_values import AS_NULL, AmbiguousValues
from consumers.formats.binding import Binding, Cells, RowPartition
from consumers.formats.confluent import Schemas
from consumers.formats.connect import KINDS, Fields, declared_fields, kinds_of
from consumers.formats.rows import rows_of
from engine.errors import InvalidEvent
from engine.model.event import SourceEvent
from engine.model.states import Reason

_SCHEMAS = 64
_ENVELOPE = ("schema", "payload")
_TOMBSTONE = (
    "null value: a tombstone does not contain the partition of the deleted record; invalidate "
    "the affected partitions manually, or read change events (format: debezium)"
)


class _Envelope(msgspec.Struct, forbid_unknown_fields=True):
    """A record with its schema, as Kafka Connect's JSON converter writes it."""

    schema: Raw
    payload: Raw


class _Shape:
    """The rows of one schema, and their partitions."""

    def __init__(self, binding: Binding, fields: Fields) -> None:
        keeps_nulls = binding.source.replace_null_with_default is False
        self._ambiguous = AmbiguousValues(
            fields, frozenset(), is_full=True, keeps_nulls=keeps_nulls
        )
        self._fields = binding.partition_fields
        self._read_partition = binding.partition_reader(kinds_of(fields, KINDS))

    def partition(self, cells: Cells) -> RowPartition:
        """The partition of a row; a value that may be a null gives no key."""
        if self._ambiguous.is_empty:
            return self._read_partition(cells)
        pairs = zip(self._fields, cells, strict=True)
        partition = self._read_partition(
            tuple(
                [
                    None if self._ambiguous.may_be_null(field, cell) else cell
                    for field, cell in pairs
                ]
            )
        )
        hidden = self._ambiguous.hidden_nulls(self._fields, cells)
        return partition._replace(uncertainty=AS_NULL) if hidden else partition


class Record:
    """The format of a topic whose messages are rows as JSON objects, or Avro with a registry."""

    def __init__(self, binding: Binding, schemas: Schemas | None = None) -> None:
        self._binding = binding
        self._schemas = schemas
        self._rows = rows_of(binding)
        self._decoder = msgspec.json.Decoder(self._rows.json)
        self._envelopes = msgspec.json.Decoder(_Envelope)
        self._has_envelopes = set(_ENVELOPE).isdisjoint(binding.partition_fields)
        self._plain = _Shape(binding, {})
        self._wrapped = lru_cache(_SCHEMAS)(lambda schema: _Shape(binding, declared_fields(schema)))
        self._registered = lru_cache(_SCHEMAS)(lambda schema: _Shape(binding, schema.fields()))

    def __call__(
        self, value: bytes | None, headers: Mapping[str, str], dataset: str | None
    ) -> list[SourceEvent]:
        """See `Format`."""
        if value is None:
            raise InvalidEvent(_TOMBSTONE)
        if self._schemas is None:
            partition = self._json(value)
        else:
            schema, payload = self._schemas.unwrap(value)
            body = schema.read(payload)
            cells = self._cells(body) if isinstance(body, bytes) else self._binding.cells(body)
            partition = self._registered(schema).partition(cells)
        return [self._binding.event(partition, reason=Reason.ARRIVAL)]

    def _json(self, value: bytes) -> RowPartition:
        envelope = self._envelope(value) if self._has_envelopes else None
        if envelope is None:
            return self._plain.partition(self._cells(value))
        payload = bytes(envelope.payload)
        if payload == b"null":
            raise InvalidEvent(_TOMBSTONE)
        return self._wrapped(bytes(envelope.schema)).partition(self._cells(payload))

    def _envelope(self, value: bytes) -> _Envelope | None:
        """The envelope of a record; None if the message is the record itself."""
        if b'"payload"' not in value:
            return None
        try:
            envelope = self._envelopes.decode(value)
        except (ValueError, RecursionError):
            return None
        return envelope if bytes(envelope.schema)[:1] in b"{n" else None

    def _cells(self, value: bytes) -> Cells:
        try:
            return self._rows.partition_cells(self._decoder.decode(value))
        except (ValueError, RecursionError) as error:
            raise InvalidEvent(
                f"not a record: {error}; send one JSON object per message"
            ) from error
