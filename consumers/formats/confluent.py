"""Messages that begin with the id of their schema, as serializers with a schema registry make them.

Source: Confluent's wire format: a zero byte, the id in four bytes, most significant first, then the
payload. Schemas come from a look-up, so that reading stays pure; who reads has learned them before.
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
    """A schema of a registry."""

    @abstractmethod
    def read(self, payload: bytes) -> bytes | dict[str, Any]:
        """The payload as JSON, or as a record. Raises InvalidEvent."""

    @abstractmethod
    def fields(self, *within: str) -> Fields:
        """The fields of a row that lies within some fields."""


@dataclass(frozen=True, eq=False)
class AvroSchema(Schema):
    """A record, parsed, and the types in it by name."""

    parsed: Any
    named: Mapping[str, Any]

    @staticmethod
    def of(text: str, references: Mapping[str, str]) -> "AvroSchema":
        """Parse a schema with those that it refers to, in their order. Raises InvalidEvent."""
        named: dict[str, Any] = {}
        try:
            for each in references.values():
                fastavro.parse_schema(msgspec.json.decode(each), named)
            return AvroSchema(fastavro.parse_schema(msgspec.json.decode(text), named), named)
        except Exception as error:  # the parser raises what it comes across
            raise InvalidEvent(f"its Avro schema cannot be read: {error!r}") from error

    def read(self, payload: bytes) -> dict[str, Any]:
        """See `Schema`."""
        source = BytesIO(payload)
        try:
            record = fastavro.schemaless_reader(source, self.parsed, None)
        except Exception as error:  # the reader raises what it comes across
            raise InvalidEvent(f"not Avro of its schema: {error!r}") from error
        if not isinstance(record, dict) or source.tell() < len(payload):
            raise InvalidEvent("not Avro of its schema: it is no record, or goes on behind its end")
        return record

    def fields(self, *within: str) -> Fields:
        """See `Schema`."""
        record = self.parsed
        for field in within:
            types = {each["name"]: each["type"] for each in _declared(record)}
            record = self._record(types.get(field))
        return {each["name"]: _field(each) for each in _declared(record)}

    def _record(self, kind: Any) -> Any:
        """The record in a type, which may be null as well, and may be told by its name."""
        found = (self.named.get(each) if isinstance(each, str) else each for each in _either(kind))
        return next((each for each in found if _declared(each)), None)


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
        return {name: _property(each) for name, each in _properties(schema).items()}

    @cached_property
    def _parsed(self) -> Any:
        return msgspec.json.decode(self.text)


class Schemas:
    """The schemas that have been learned, by id; of those that cannot be had, the reason."""

    def __init__(self) -> None:
        self.by_id: dict[int, Schema | str] = {}

    def unwrap(self, value: bytes) -> tuple[Schema, bytes]:
        """The schema of a message, and its payload. Raises InvalidEvent."""
        number = schema_id(value)
        if number is None:
            raise InvalidEvent(
                "it does not begin with the id of a schema: let its producer use a serializer of "
                "the registry, or leave out `registry` in the DAG file"
            )
        found = self.by_id.get(number, "it has not been asked for")
        if isinstance(found, str):
            raise InvalidEvent(f"schema {number} cannot be had: {found}")
        return found, value[_HEADER:]


def schema_id(value: bytes | None) -> int | None:
    """The id that a message begins with; None where it begins otherwise."""
    if value is None or len(value) < _HEADER or value[0] != _MAGIC:
        return None
    return int.from_bytes(value[1:_HEADER], "big")


def _declared(record: Any) -> list[Any]:
    found = record.get("fields", ()) if isinstance(record, dict) else ()
    return [each for each in found if isinstance(each, dict)]


def _field(declared: Any) -> Field:
    """A field of an Avro record; Kafka Connect notes the name of its type as `connect.name`."""
    kind = _plain(declared["type"])
    default = declared.get("default")
    return Field(
        name=str(kind.get("connect.name", "")),
        is_optional="null" in _either(declared["type"]),
        default=kind.get("connect.default") if default is None else default,
        is_default_plain="logicalType" not in kind and kind.get("type") != "bytes",
    )


def _property(schema: Any) -> Field:
    """A property of a JSON Schema; Kafka Connect notes the name of its type as the title."""
    found = _object(schema)
    default = found.get("default")
    parameters = found.get("connect.parameters")
    return Field(
        name=str(found.get("title", "")),
        is_optional=found is not schema or "null" in _either(found.get("type")),
        default=found.get("connect.default") if default is None else default,
        scale=whole_number(parameters.get("scale")) if isinstance(parameters, dict) else None,
    )


def _plain(kind: Any) -> dict[str, Any]:
    return next((each for each in _either(kind) if isinstance(each, dict)), {})


def _either(kind: Any) -> list[Any]:
    return kind if isinstance(kind, list) else [kind]


def _properties(schema: Any) -> dict[str, Any]:
    found = _object(schema).get("properties")
    return found if isinstance(found, dict) else {}


def _object(schema: Any) -> dict[str, Any]:
    """The schema, or the one of several that is not of null."""
    if not isinstance(schema, dict):
        return {}
    several = schema.get("oneOf") or schema.get("anyOf")
    choices = several if isinstance(several, list) else [schema]
    fitting = (each for each in choices if isinstance(each, dict) and each.get("type") != "null")
    return next(fitting, {})
