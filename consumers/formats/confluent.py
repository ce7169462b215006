"""Messages that begin with a schema id, as produced by serializers with a schema registry.

Source: Confluent's wire format: a zero byte, the id in four bytes, most significant first, then the
payload. Schemas are loaded in advance, so that reading messages does no I/O.
"""

from abc import ABC, abstractmethod
from collections.abc import Mapping
from dataclasses import dataclass
from functools import cached_property
from io import BytesIO
from typing import Any

import fastavro
import msgspec

from consumers.formats.connect import Field, Fields, whole_number
from engine.errors import InvalidEvent

_MAGIC = 0
_HEADER = 5


class Schema(ABC):
    """A schema from a registry."""

    @abstractmethod
    def read(self, payload: bytes) -> bytes | dict[str, Any]:
        """The payload as JSON, or as a decoded record. Raises InvalidEvent."""

    @abstractmethod
    def fields(self, *within: str) -> Fields:
        """The fields of a row; ``within`` is the path of fields to the row."""


@dataclass(frozen=True, eq=False)
class AvroSchema(Schema):
    """A parsed Avro record schema, and the named types in it."""

    parsed: Any
    named: Mapping[str, Any]

    @staticmethod
    def of(text: str, references: Mapping[str, str]) -> "AvroSchema":
        """Parse a schema after its references, in order. Raises InvalidEvent."""
        named: dict[str, Any] = {}
        try:
            for reference in references.values():
                fastavro.parse_schema(msgspec.json.decode(reference), named)
            return AvroSchema(fastavro.parse_schema(msgspec.json.decode(text), named), named)
        except Exception as error:  # fastavro raises arbitrary errors for invalid schemas
            raise InvalidEvent(f"its Avro schema cannot be read: {error!r}") from error

    def read(self, payload: bytes) -> dict[str, Any]:
        """See `Schema`."""
        source = BytesIO(payload)
        try:
            record = fastavro.schemaless_reader(source, self.parsed, None)
        except Exception as error:  # fastavro raises arbitrary errors for invalid payloads
            raise InvalidEvent(
                f"the payload is not Avro of the message's schema: {error!r}"
            ) from error
        if not isinstance(record, dict) or source.tell() < len(payload):
            raise InvalidEvent(
                "the payload is not Avro of the message's schema: it is not a record, or there are "
                "bytes after the record"
            )
        return record

    def fields(self, *within: str) -> Fields:
        """See `Schema`."""
        record = self.parsed
        for field in within:
            types = {declared["name"]: declared["type"] for declared in _declared(record)}
            record = self._record(types.get(field))
        return {declared["name"]: _field(declared) for declared in _declared(record)}

    def _record(self, kind: Any) -> Any:
        """The record type in a type, which may be a union with null or the name of a type."""
        resolved = (
            self.named.get(option) if isinstance(option, str) else option
            for option in _options(kind)
        )
        return next((option for option in resolved if _declared(option)), None)


@dataclass(frozen=True, eq=False)
class JsonSchema(Schema):
    """A JSON Schema, whose payloads are JSON."""

    text: str

    def read(self, payload: bytes) -> bytes:
        """See `Schema`."""
        return payload

    def fields(self, *within: str) -> Fields:
        """See `Schema`."""
        schema = self._parsed
        for field in within:
            schema = _properties(schema).get(field)
        return {name: _property(value) for name, value in _properties(schema).items()}

    @cached_property
    def _parsed(self) -> Any:
        return msgspec.json.decode(self.text)


class Schemas:
    """The loaded schemas by id; for an unavailable schema, the reason."""

    def __init__(self) -> None:
        self.by_id: dict[int, Schema | str] = {}

    def unwrap(self, value: bytes) -> tuple[Schema, bytes]:
        """Split a message into its schema and its payload. Raises InvalidEvent."""
        number = schema_id(value)
        if number is None:
            raise InvalidEvent(
                "the message does not begin with a schema id: use a serializer of the registry in "
                "the producer, or remove `registry` from the source in the DAG file"
            )
        schema = self.by_id.get(number, "it has not been loaded")
        if isinstance(schema, str):
            raise InvalidEvent(f"schema {number} is not available: {schema}")
        return schema, value[_HEADER:]


def schema_id(value: bytes | None) -> int | None:
    """The schema id that a message begins with; None if there is none."""
    if value is None or len(value) < _HEADER or value[0] != _MAGIC:
        return None
    return int.from_bytes(value[1:_HEADER], "big")


def _declared(record: Any) -> list[Any]:
    """The fields that an Avro type declares; empty unless the type is a record."""
    fields = record.get("fields", ()) if isinstance(record, dict) else ()
    return [field for field in fields if isinstance(field, dict)]


def _field(declared: Any) -> Field:
    """A field of an Avro record; Kafka Connect writes the logical type as `connect.name`."""
    options = _options(declared["type"])
    kind: dict[str, Any] = next((option for option in options if isinstance(option, dict)), {})
    default = declared.get("default")
    return Field(
        name=str(kind.get("connect.name", "")),
        is_optional="null" in options,
        default=kind.get("connect.default") if default is None else default,
        is_default_plain="logicalType" not in kind and kind.get("type") != "bytes",
    )


def _property(schema: Any) -> Field:
    """A property of a JSON Schema; Kafka Connect writes the logical type as the title."""
    value = _object(schema)
    default = value.get("default")
    parameters = value.get("connect.parameters")
    return Field(
        name=str(value.get("title", "")),
        is_optional=value is not schema or "null" in _options(value.get("type")),
        default=value.get("connect.default") if default is None else default,
        scale=whole_number(parameters.get("scale")) if isinstance(parameters, dict) else None,
    )


def _options(kind: Any) -> list[Any]:
    """The members of a union type; a type that is not a union is its only member."""
    return kind if isinstance(kind, list) else [kind]


def _properties(schema: Any) -> dict[str, Any]:
    properties = _object(schema).get("properties")
    return properties if isinstance(properties, dict) else {}


def _object(schema: Any) -> dict[str, Any]:
    """The schema itself, or the first alternative other than null."""
    if not isinstance(schema, dict):
        return {}
    alternatives = schema.get("oneOf") or schema.get("anyOf")
    if not isinstance(alternatives, list):
        alternatives = [schema]
    usable = (a for a in alternatives if isinstance(a, dict) and a.get("type") != "null")
    return next(usable, {})
