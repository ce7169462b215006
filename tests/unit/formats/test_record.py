"""Plain records in the form written by Kafka Connect's converters."""

import json
from datetime import UTC, datetime
from decimal import Decimal
from typing import Any

import msgspec
import pytest

from consumers.formats.confluent import AvroSchema, JsonSchema, Schema, Schemas
from consumers.formats.reading import Reader
from engine.model.event import Delivery, Rejection, SourceEvent, Widened
from tests.support.bindings import bound
from tests.support.registries import avro, framed

CONNECT = "org.apache.kafka.connect.data."
NEW_YORK = {"dt": {"time": "day", "zone": "America/New_York", "column": "at"}}
MILLIS = 1767322800000  # 2026-01-02T03:00Z, the evening of the 1st in New York


def enveloped(field: dict[str, Any], value: Any) -> bytes:
    """A row with one field in the form written by the JSON converter."""
    schema = {"type": "struct", "fields": [{"field": "at", **field}], "optional": False}
    return msgspec.json.encode({"schema": schema, "payload": {"at": value}})


def behind(schema: Schema, payload: bytes, partitioning: Any = NEW_YORK) -> SourceEvent:
    """The event read from a record encoded with a registry."""
    schemas = Schemas()
    schemas.by_id[7] = schema
    [event] = bound("record", partitioning, None, schemas=schemas)(framed(7, payload), {}, None)
    return event


def in_avro(kind: Any, value: Any, partitioning: Any = NEW_YORK, **field: Any) -> SourceEvent:
    row = {"type": "record", "name": "V", "fields": [{"name": "at", "type": kind, **field}]}
    return behind(AvroSchema.of(json.dumps(row), {}), avro(row, {"at": value}), partitioning)


def in_json_schema(field: Any, value: Any, partitioning: Any = NEW_YORK) -> SourceEvent:
    row = {"type": "object", "properties": {"at": field}}
    payload = msgspec.json.encode({"at": value})
    return behind(JsonSchema(json.dumps(row)), payload, partitioning)


def read(value: bytes, partitioning: Any = NEW_YORK, **source: Any) -> SourceEvent:
    [event] = bound("record", partitioning, None, **source)(value, {}, None)
    return event


def test_a_kafka_connect_timestamp_is_an_instant_in_every_encoding() -> None:
    name = CONNECT + "Timestamp"
    millis = {"type": "long", "logicalType": "timestamp-millis", "connect.name": name}
    found = [
        read(enveloped({"type": "int64", "name": name}, MILLIS)),
        in_avro(millis, datetime(2026, 1, 2, 3, tzinfo=UTC)),
        in_avro({"type": "long", "connect.name": name}, MILLIS),
        in_json_schema({"type": "integer", "title": name}, MILLIS),
    ]

    assert [event.partitions for event in found] == [("2026-01-01",)] * 4


@pytest.mark.parametrize(
    ("name", "value", "day"),
    [
        (CONNECT + "Date", 20455, "2026-01-02"),
        ("io.debezium.time.Date", 20455, "2026-01-02"),
        ("io.debezium.time.Timestamp", MILLIS, "2026-01-02"),  # without a zone: local time
        ("io.debezium.time.MicroTimestamp", MILLIS * 1000, "2026-01-02"),
        ("io.debezium.time.ZonedTimestamp", "2026-01-02T03:00:00Z", "2026-01-01"),
    ],
)
def test_logical_types_are_recognized_by_name(name: str, value: Any, day: str) -> None:
    kind = "string" if isinstance(value, str) else "int64"
    avro_kind = "string" if isinstance(value, str) else "long"
    found = [
        read(enveloped({"type": kind, "name": name}, value)),
        in_avro({"type": avro_kind, "connect.name": name}, value),
        in_json_schema({"title": name}, value),
    ]

    assert [event.partitions for event in found] == [(day,)] * 3


def test_the_source_may_override_the_clock() -> None:
    """A connector uses the same type name for columns without a time zone."""
    local = {"dt": {"field": "at", "clock": "local"}}
    value = enveloped({"type": "int64", "name": CONNECT + "Timestamp"}, MILLIS)

    assert read(value, partition=local).partitions == ("2026-01-02",)


def test_decimals_are_numbers_in_every_encoding() -> None:
    runs = {"n": {"range": 10, "column": "at"}}
    name, scale = CONNECT + "Decimal", {"scale": "2"}
    bytes_ = {"type": "bytes", "scale": 2, "precision": 9, "logicalType": "decimal"}
    found = [
        read(enveloped({"type": "bytes", "name": name, "parameters": scale}, "BNI="), runs),
        in_avro({**bytes_, "connect.name": name}, Decimal("12.34"), runs),
        in_json_schema({"title": name, "connect.parameters": scale}, "BNI=", runs),
        in_json_schema({"title": name, "connect.parameters": scale}, 12.34, runs),
    ]

    assert [event.partitions for event in found] == [("10-19",)] * 4


def test_without_a_schema_the_payload_is_the_record() -> None:
    value = b'{"schema": null, "payload": {"at": "2026-01-02"}}'

    assert read(value).partitions == ("2026-01-02",)


def test_fields_may_have_the_names_of_envelope_fields() -> None:
    by_payload = {"dt": {"time": "day", "column": "payload"}}

    event = read(b'{"schema": {"type": "x"}, "payload": "2026-01-02"}', by_payload)
    assert event.partitions == ("2026-01-02",)
    assert read(b'{"at": "2026-01-02", "payload": {}, "schema": 1}').partitions == ("2026-01-02",)


def test_a_tombstone_in_an_envelope_is_rejected() -> None:
    outcome = Reader(bound("record")).read(Delivery("s", "1", b'{"schema": null, "payload": null}'))

    assert isinstance(outcome, Rejection)
    assert "null value" in outcome.error


REGIONS = {"region": {"dynamic": True, "column": "at"}}


def by_region(field: dict[str, Any], value: str, **source: Any) -> list[SourceEvent]:
    default = field["default"]
    text: Any = ["string", "null"] if field["optional"] else "string"
    shape = {"type": "string", "connect.default": default}
    shape = {"oneOf": [{"type": "null"}, shape]} if field["optional"] else shape
    return [
        read(enveloped({"type": "string", **field}, value), REGIONS, **source),
        in_avro(text, value, REGIONS, default=default),
        in_json_schema(shape, value, REGIONS),
    ]


def test_a_default_may_replace_a_null() -> None:
    """Converters replace a null by the default of its field, if any."""
    for event in by_region({"optional": True, "default": "EU"}, "EU"):
        assert (event.partitions, isinstance(event, Widened)) == (None, True)
        assert "replace.null.with.default" in (event.note or "")
    for event in by_region({"optional": True, "default": "EU"}, "US"):
        assert (event.partitions, isinstance(event, Widened)) == (("US",), False)
    for event in by_region({"optional": False, "default": "EU"}, "EU"):
        assert (event.partitions, isinstance(event, Widened)) == (("EU",), False)


def test_a_converter_may_be_declared_to_keep_nulls() -> None:
    field = {"type": "string", "optional": True, "default": "EU"}

    event = read(enveloped(field, "EU"), REGIONS, replace_null_with_default=False)
    assert event.partitions == ("EU",)
