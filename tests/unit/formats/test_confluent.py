"""Messages encoded with a schema registry, with the schemas at hand."""

import json
from datetime import UTC, date, datetime
from decimal import Decimal
from typing import Any

import pytest

from consumers.formats.confluent import AvroSchema, JsonSchema, Schema, Schemas
from consumers.formats.reading import Reader
from engine.errors import InvalidEvent
from engine.model.event import Delivery, Rejection, SourceEvent, Widened
from tests.support.bindings import bound
from tests.support.registries import avro, framed

MICROS = {"type": "long", "connect.name": "io.debezium.time.MicroTimestamp"}
DAYS = {"type": "int", "connect.name": "io.debezium.time.Date"}
ROW = {
    "type": "record",
    "name": "Value",
    "fields": [
        {"name": "id", "type": "int"},
        {"name": "ordered_at", "type": ["null", DAYS]},
        {"name": "seen_at", "type": ["null", MICROS]},
        {"name": "amount", "type": {"type": "bytes", "logicalType": "decimal", "precision": 9}},
        {"name": "notes", "type": ["null", "string"]},
    ],
}
ENVELOPE = {
    "type": "record",
    "name": "Envelope",
    "namespace": "shop.public.orders",
    "fields": [
        {"name": "before", "type": ["null", ROW], "default": None},
        {"name": "after", "type": ["null", "Value"], "default": None},
        {"name": "op", "type": "string"},
        {"name": "ts_ms", "type": ["null", "long"], "default": None},
    ],
}
SALE = {
    "type": "record",
    "name": "Sale",
    "fields": [
        {"name": "dt", "type": {"type": "int", "logicalType": "date"}},
        {"name": "at", "type": {"type": "long", "logicalType": "timestamp-millis"}},
        {"name": "units", "type": "long"},
    ],
}


def schemas(schema: Schema | str) -> Schemas:
    found = Schemas()
    found.by_id[7] = schema
    return found


def parsed(schema: Any) -> AvroSchema:
    return AvroSchema.of(json.dumps(schema), {})


def row(**changes: Any) -> dict[str, Any]:
    usual = {"id": 1, "ordered_at": 20455, "seen_at": 1767398399123456, "amount": Decimal(5)}
    return {**usual, "notes": None} | changes


def events_of(before: Any, after: Any, op: str, **source: Any) -> list[SourceEvent]:
    columns = ("id", "ordered_at", "amount", "notes")
    read = bound("debezium", known=columns, schemas=schemas(parsed(ENVELOPE)), **source)
    message = {"before": before, "after": after, "op": op}
    return read(framed(7, avro(ENVELOPE, message)), {}, None)


def test_debezium_in_avro_is_debezium() -> None:
    dataset, days = "orders", ("2026-01-02",)

    assert events_of(None, row(), "c") == [
        SourceEvent(dataset=dataset, partitions=days, reason="arrival")
    ]
    assert events_of(row(), row(notes="new", amount=Decimal(6)), "u") == [
        SourceEvent(dataset=dataset, partitions=days, columns=("amount", "notes"))
    ]
    assert events_of(row(), row(), "u") == []
    assert events_of(row(), None, "d") == [SourceEvent(dataset=dataset, partitions=days)]
    [moved] = events_of(row(), row(ordered_at=20456), "u")
    assert moved.partitions == ("2026-01-02", "2026-01-03")
    [unknown] = events_of(None, row(), "u")
    assert isinstance(unknown, Widened)
    [zero] = events_of(row(ordered_at=0, seen_at=None), None, "d")
    assert (isinstance(zero, Widened), zero.partitions) == (True, None)


def test_the_schema_gives_the_unit_of_numbers() -> None:
    [event] = events_of(None, row(), "c", partition={"dt": {"field": "seen_at"}})

    assert event.partitions == ("2026-01-02",)


def test_a_tombstone_with_a_registry_is_ignored() -> None:
    assert bound("debezium", schemas=schemas(parsed(ENVELOPE)))(None, {}, None) == []


def test_an_avro_record_is_an_arrival_in_its_partition() -> None:
    sale = {"dt": date(2026, 1, 2), "at": datetime(2026, 1, 2, 23, tzinfo=UTC), "units": 12}
    space = {"h": {"time": "hour", "zone": "Asia/Kathmandu", "column": "at"}, "u": {"range": 10}}
    units = {"u": "units"}
    by_day = bound("record", {"dt": {"time": "day"}}, schemas=schemas(parsed(SALE)))
    by_both = bound("record", space, schemas=schemas(parsed(SALE)), partition=units)

    [day] = by_day(framed(7, avro(SALE, sale)), {}, None)
    [both] = by_both(framed(7, avro(SALE, sale)), {}, None)

    assert day == SourceEvent(dataset="orders", partitions=("2026-01-02",), reason="arrival")
    assert both.partitions == ("h=2026-01-03T04/u=10-19",)


@pytest.mark.parametrize("within", [{"type": "object"}, {"oneOf": [{"type": "null"}, {}]}])
def test_json_schema_payloads_are_json(within: dict[str, Any]) -> None:
    titled = {"ordered_at": {"type": "integer", "title": "io.debezium.time.Date"}}
    value = {"type": "object", "properties": titled}
    after = {"oneOf": [{"type": "null"}, value]} if "oneOf" in within else value
    schema = JsonSchema(json.dumps({"type": "object", "properties": {"after": after}}))
    read = bound("debezium", schemas=schemas(schema))

    [event] = read(framed(7, b'{"op": "c", "after": {"ordered_at": 20455}}'), {}, None)

    assert event.partitions == ("2026-01-02",)


def test_referenced_schemas_are_resolved() -> None:
    amount = {"type": "record", "name": "Money", "fields": [{"name": "cents", "type": "long"}]}
    bill = {"type": "record", "name": "Bill", "fields": [{"name": "total", "type": "Money"}]}
    schema = AvroSchema.of(json.dumps(bill), {"Money": json.dumps(amount)})

    assert schema.read(b"\x0a") == {"total": {"cents": 5}}


@pytest.mark.parametrize(
    ("value", "why"),
    [
        (b"{}", "the message does not begin with a schema id: use a serializer"),
        (framed(8, b""), "schema 8 is not available: it has not been loaded"),
        (framed(7, b"\x02"), "the payload is not Avro of the message's schema: "),
        (framed(7, avro(ENVELOPE, {"op": "t"}) + b"\0"), "there are bytes after the record"),
        (framed(7, avro(ENVELOPE, {"op": "?"})), "op '?' is none of c, u, d, r, t, m"),
    ],
)
def test_a_rejection_has_the_reason(value: bytes, why: str) -> None:
    reader = Reader(bound("debezium", schemas=schemas(parsed(ENVELOPE))))

    outcome = reader.read(Delivery("s", "1", value, {}))

    assert isinstance(outcome, Rejection)
    assert why in outcome.error


def test_an_invalid_schema_is_rejected() -> None:
    with pytest.raises(InvalidEvent, match="its Avro schema cannot be read"):
        AvroSchema.of('{"type": "record"}', {})
