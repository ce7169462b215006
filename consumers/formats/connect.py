"""Fields of rows in Kafka Connect's schemas: logical types, optional fields and defaults.

Sources: the schemas of Kafka Connect's JSON converter, and of Confluent's converters for Avro
(`connect.name`, `connect.default`) and JSON Schema (`title`, `connect.parameters`).
"""

from collections.abc import Mapping
from types import MappingProxyType
from typing import Any

import msgspec
from msgspec import Struct

from consumers.formats.keys import Kind
from engine.errors import InvalidEvent

_TIME = "io.debezium.time."
_CONNECT = "org.apache.kafka.connect.data."
_DECIMAL = _CONNECT + "Decimal"

KINDS: Mapping[str, Kind] = MappingProxyType(
    {
        _CONNECT + "Date": Kind("days"),
        _CONNECT + "Timestamp": Kind("millis"),
        _TIME + "Date": Kind("days"),
        _TIME + "Timestamp": Kind("millis", clock="numbers"),
        _TIME + "MicroTimestamp": Kind("micros", clock="numbers"),
        _TIME + "NanoTimestamp": Kind("nanos", clock="numbers"),
        _TIME + "IsoTimestamp": Kind(clock="local"),
        _TIME + "ZonedTimestamp": Kind(),
    }
)
"""Logical types by name. Debezium's own types, unless zoned, are for columns without time zone."""

DEBEZIUM_KINDS: Mapping[str, Kind] = MappingProxyType(
    {**KINDS, _CONNECT + "Timestamp": Kind("millis", clock="local")}
)
"""Logical types in Debezium's change events: columns without time zone may use Connect's types."""


class Field(Struct, frozen=True):
    """A field of a row; ``default`` None means no default.

    ``is_default_plain``: decoded values can be compared with the default.
    """

    name: str = ""
    is_optional: bool = True
    default: Any = None
    is_default_plain: bool = True
    scale: int | None = None

    def may_be_default(self, value: Any) -> bool:
        """Return whether a value may equal the default."""
        if self.default is None or value is None:
            return False
        return not self.is_default_plain or bool(value == self.default)

    def kind(self, kinds: Mapping[str, Kind]) -> Kind | None:
        """The meaning of the values, if the logical type implies one."""
        return Kind(scale=self.scale) if self.name == _DECIMAL else kinds.get(self.name)


Fields = Mapping[str, Field]
"""The fields of a row by name; empty if there is no schema."""


def kinds_of(fields: Fields, kinds: Mapping[str, Kind]) -> dict[str, Kind]:
    """The meanings of the values of all fields whose logical types imply one."""
    implied = {name: field.kind(kinds) for name, field in fields.items()}
    return {name: kind for name, kind in implied.items() if kind is not None}


class _Declared(Struct, frozen=True):
    """A schema that the JSON converter writes beside the payload."""

    field: str | None = None
    name: str | None = None
    optional: bool = False
    default: Any = None
    fields: list["_Declared"] = []
    parameters: dict[str, str] = {}


def declared_fields(schema: bytes, *within: str) -> Fields:
    """The fields of a row in a schema of the JSON converter. Raises InvalidEvent.

    ``within`` is the path of fields to the row.
    """
    try:
        row = msgspec.json.decode(schema, type=_Declared | None)
    except msgspec.DecodeError as error:
        raise InvalidEvent(f"the schema beside the payload cannot be read: {error}") from error
    for step in within:
        row = next((field for field in (row.fields if row else ()) if field.field == step), None)
    return {field.field: _field(field) for field in (row.fields if row else ()) if field.field}


def _field(schema: _Declared) -> Field:
    scale = schema.parameters.get("scale")
    return Field(schema.name or "", schema.optional, schema.default, scale=whole_number(scale))


def whole_number(text: object) -> int | None:
    """The number in a parameter of a schema; None if it is not a number."""
    return int(str(text)) if str(text).isdecimal() else None
