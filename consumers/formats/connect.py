"""Rows as Kafka Connect's schemas declare them: logical types by name, optional fields, defaults.

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
"""Logical types by name. Debezium's own are for columns without a time zone, unless zoned."""

DEBEZIUM_KINDS: Mapping[str, Kind] = MappingProxyType(
    {**KINDS, _CONNECT + "Timestamp": Kind("millis", clock="local")}
)
"""The same in Debezium's change events, where columns without a time zone may have Connect's."""


class Field(Struct, frozen=True):
    """A field of a row; ``default`` None: it has none.

    ``is_default_plain``: its values compare with the default as they are decoded.
    """

    name: str = ""
    is_optional: bool = True
    default: Any = None
    is_default_plain: bool = True
    scale: int | None = None

    def may_be_default(self, value: Any) -> bool:
        """Whether a value may be the default."""
        if self.default is None or value is None:
            return False
        return not self.is_default_plain or bool(value == self.default)

    def kind(self, kinds: Mapping[str, Kind]) -> Kind | None:
        """The meaning of its values, where its type has a name that implies one."""
        return Kind(scale=self.scale) if self.name == _DECIMAL else kinds.get(self.name)


Fields = Mapping[str, Field]
"""The fields of a row by name; empty where no schema is at hand."""


def kinds_of(fields: Fields, kinds: Mapping[str, Kind]) -> dict[str, Kind]:
    """The meanings of the fields whose types imply one."""
    found = {name: field.kind(kinds) for name, field in fields.items()}
    return {name: kind for name, kind in found.items() if kind is not None}


class _Declared(Struct, frozen=True):
    """A schema as the JSON converter writes it, beside the payload."""

    field: str | None = None
    name: str | None = None
    optional: bool = False
    default: Any = None
    fields: list["_Declared"] = []
    parameters: dict[str, str] = {}


def declared_fields(schema: bytes, *within: str) -> Fields:
    """The fields that the JSON converter's schema declares of a row. Raises InvalidEvent.

    ``within`` are the fields that lead to the row.
    """
    try:
        found = msgspec.json.decode(schema, type=_Declared | None)
    except msgspec.DecodeError as error:
        raise InvalidEvent(
            f"the schema that comes with the payload cannot be read: {error}"
        ) from error
    for step in within:
        found = next((each for each in (found.fields if found else ()) if each.field == step), None)
    return {each.field: _field(each) for each in (found.fields if found else ()) if each.field}


def _field(schema: _Declared) -> Field:
    scale = schema.parameters.get("scale")
    return Field(schema.name or "", schema.optional, schema.default, scale=whole_number(scale))


def whole_number(text: object) -> int | None:
    """The number that a parameter of a schema is, if it is one."""
    return int(str(text)) if str(text).isdecimal() else None
