"""Debezium's recorded messages of real changes, and the resulting events."""

from base64 import b64encode
from hashlib import md5
from typing import Any
from uuid import UUID

import msgspec
import pytest

from consumers.formats.format import Format
from consumers.formats.reading import Reader
from engine.model.event import Delivery, Rejection, SourceEvent, Widened
from tests.support.bindings import bound
from tests.support.debezium.messages import messages

DAYS = {"dt": {"field": "ordered_at", "unit": "days"}}
ALL = "all"
Summary = tuple[object, object, str]


def reported(read: Format, recording: str, table: str) -> list[Summary | None]:
    """Partitions, columns and reason of each message's event; `!` marks a widened event."""
    return [_summary(read(message.payload, {}, None)) for message in messages(recording, table)]


def _summary(events: list[SourceEvent]) -> Summary | None:
    assert len(events) <= 1
    for event in events:
        widened = "!" if isinstance(event, Widened) else ""
        return event.partitions or ALL, event.columns or ALL, event.reason + widened
    return None


def test_an_update_with_the_full_previous_row_reports_exact_changes() -> None:
    orders = bound("debezium", partition=DAYS)

    assert reported(orders, "plain", "orders_full") == [
        (("2026-01-01",), ALL, "change"),  # the snapshot
        (("2026-01-02",), ALL, "arrival"),
        (("2026-01-02",), ("notes",), "change"),
        None,
        (("2026-01-02", "2026-01-03"), ALL, "change"),  # moved
        (("2026-01-03",), ("status",), "change"),
        (("2026-01-03",), ALL, "change"),  # another primary key: deleted,
        None,  # its tombstone,
        (("2026-01-03",), ALL, "arrival"),  # and inserted
        (("2026-01-03",), ALL, "change"),  # deleted
        None,
        (ALL, ALL, "change"),  # truncated
    ]


def test_an_update_without_the_previous_row_may_change_anything() -> None:
    orders = bound("debezium", partition=DAYS)

    assert reported(orders, "plain", "orders_default") == [
        (("2026-01-01",), ALL, "change"),
        (("2026-01-02",), ALL, "arrival"),
        (ALL, ALL, "change!"),
        (ALL, ALL, "change!"),
        (ALL, ALL, "change!"),
        (ALL, ALL, "change!"),
        (ALL, ALL, "change!"),  # the before-image has day 0, the placeholder of a missing value
        None,
        (("2026-01-03",), ALL, "arrival"),
        (ALL, ALL, "change!"),
        None,
    ]


def test_changes_of_a_partition_in_the_replica_identity_are_reported() -> None:
    orders = bound("debezium", partition=DAYS, key=["ordered_at", "status"])

    assert reported(orders, "plain", "orders_index")[2:] == [
        (("2026-01-02",), ALL, "change!"),
        (("2026-01-02",), ALL, "change!"),
        (("2026-01-02",), ALL, "change"),
        None,
        (("2026-01-03",), ALL, "arrival"),
        (("2026-01-03",), ALL, "change"),
        None,
        (("2026-01-03",), ALL, "arrival"),
        (("2026-01-03",), ALL, "change!"),
        (("2026-01-03",), ALL, "change"),
        None,
    ]


def test_a_partition_in_the_primary_key_may_be_zero() -> None:
    fields = {"dt": {"field": "dt", "unit": "days"}}
    parts = bound("debezium", {"dt": {"time": "day"}}, ("dt", "id"), partition=fields, key=["dt"])
    row = b'{"op": "d", "before": {"dt": 0, "id": 1}, "after": null}'

    assert reported(parts, "plain", "parts")[:2] == [
        (("2026-01-02",), ALL, "arrival"),
        (("2026-01-02",), ALL, "change!"),
    ]
    assert _summary(parts(row, {}, None)) == (("1970-01-01",), ALL, "change")


@pytest.mark.parametrize("recording", ["plain", "schemas", "strings", "doubles"])
@pytest.mark.parametrize("column", ["d", "ts", "tstz", "n", "anyn", "big", "yes", "u", "name"])
def test_a_zero_in_a_deleted_row_may_replace_any_value(recording: str, column: str) -> None:
    """The table has no REPLICA IDENTITY FULL and no nullable column."""
    by_column = bound("debezium", {"p": {"dynamic": True, "column": column}}, None)

    *_, deleted, _ = reported(by_column, recording, "strict")

    assert deleted == (ALL, ALL, "change!")


@pytest.mark.parametrize("recording", ["plain", "schemas", "strings", "doubles", "nanos"])
def test_all_types_are_compared(recording: str) -> None:
    kinds = bound("debezium", {}, None, before="full")

    assert reported(kinds, recording, "kinds") == [
        (("*",), ALL, "arrival"),
        (("*",), ALL, "arrival"),
        (("*",), ("big", "d", "ints", "jb", "n"), "change"),
        (("*",), ("tstz",), "change"),
    ]


UNITS = {
    "plain": {"d": "days", "ts": "micros", "ts3": "millis"},
    "strings": {},
    "doubles": {"d": "days", "ts": "millis", "ts3": "millis"},
    "nanos": {"d": "days", "ts": "nanos", "ts3": "nanos"},
    "schemas": {},
}


@pytest.mark.parametrize("recording", UNITS)
@pytest.mark.parametrize("column", ["d", "ts", "ts3", "tstz"])
def test_times_of_every_type_map_to_their_day(recording: str, column: str) -> None:
    unit = UNITS[recording].get(column)
    field = {"field": column} | ({"unit": unit} if unit else {})
    kinds = bound("debezium", {"dt": {"time": "day"}}, None, partition={"dt": field})

    inserted, nulls, *_ = reported(kinds, recording, "kinds")

    assert inserted == (("2026-01-02",), ALL, "arrival")
    assert nulls == (ALL, ALL, "arrival!")


@pytest.mark.parametrize(
    ("column", "hour"),
    [
        ("ts", "2026-01-02T23"),  # without a time zone: local time
        ("tstz", "2026-01-03T05"),
    ],
)
@pytest.mark.parametrize("recording", ["plain", "schemas"])
def test_a_time_without_zone_uses_the_zone_of_the_dimension(
    recording: str, column: str, hour: str
) -> None:
    field = {"field": column} | (
        {"unit": "micros"} if column == "ts" and recording == "plain" else {}
    )
    hourly = {"h": {"time": "hour", "zone": "Asia/Kathmandu"}}

    inserted, *_ = reported(
        bound("debezium", hourly, None, partition={"h": field}), recording, "kinds"
    )

    assert inserted == ((hour,), ALL, "arrival")


def test_an_infinite_time_has_no_partition() -> None:
    kinds = bound("debezium", {"dt": {"time": "day", "column": "tstz"}}, None)

    *_, moved = reported(kinds, "plain", "kinds")

    assert moved == (ALL, ALL, "change!")


@pytest.mark.parametrize(
    ("recording", "column", "unit", "key"),
    [
        ("plain", "big", None, "9007199254740000-9007199254740999"),
        ("schemas", "n", None, "0-999"),
        ("plain", "anyn", None, "1234567000-1234567999"),
        ("strings", "anyn", "decimal", "1234567000-1234567999"),
        ("doubles", "n", None, "0-999"),
    ],
)
def test_numbers_map_to_their_bucket(
    recording: str, column: str, unit: str | None, key: str
) -> None:
    field = {"field": column} | ({"unit": unit} if unit else {})
    kinds = bound("debezium", {"n": {"range": 1000}}, None, partition={"n": field})

    assert reported(kinds, recording, "kinds")[0] == ((key,), ALL, "arrival")


def test_an_unavailable_large_value_has_not_changed() -> None:
    columns = ("id", "n", "words", "bytes", "list")
    large = bound("debezium", {}, columns)

    assert reported(large, "plain", "large_full")[1:] == [
        (("*",), ("n",), "change"),
        (("*",), ("words",), "change"),
    ]
    before = '{"id": 1, "n": 1, "words": "long", "bytes": "AAAA", "list": ["a"]}'
    [*_, update] = messages("plain", "large_default")
    told = (update.value or "").replace('"before":null', f'"before":{before}')
    assert _summary(large(told.encode(), {}, None)) == (("*",), ("n",), "change")


def deleted(read: Format, before: dict[str, object]) -> Summary | None:
    return _summary(
        read(msgspec.json.encode({"op": "d", "before": before, "after": None}), {}, None)
    )


def test_columns_possibly_missing_from_the_previous_row_may_have_changed() -> None:
    """The log holds the columns of an index only; the others are null, zero or a default."""
    orders = bound("debezium", partition=DAYS)
    row: dict[str, object] = {"id": 2, "ordered_at": 20456, "status": "open"}
    partial = {**row, "amount": None, "notes": None}

    assert updated(orders, partial, {**partial, "status": "paid", "amount": 5}) == (
        ("2026-01-03",),
        ("amount", "notes", "status"),
        "change!",
    )
    assert updated(orders, partial, {**partial, "status": "paid"}) == (
        ("2026-01-03",),
        ("amount", "notes", "status"),
        "change!",
    )
    zeros = {**row, "amount": 0, "notes": ""}
    assert updated(orders, zeros, {**zeros, "status": "paid"}) == (
        ("2026-01-03",),
        ("amount", "notes", "status"),
        "change!",
    )
    whole = {**row, "amount": 5, "notes": "x"}
    assert updated(orders, whole, {**whole, "status": "paid"}) == (
        ("2026-01-03",),
        ("status",),
        "change",
    )


def test_a_partition_possibly_missing_from_the_previous_row_may_be_any() -> None:
    orders = bound("debezium", partition=DAYS)
    row: dict[str, object] = {"id": 2, "ordered_at": 0, "status": "open", "amount": 5, "notes": "x"}

    assert updated(orders, row, {**row, "status": "paid"}) == (ALL, ALL, "change!")
    keyed = bound("debezium", partition=DAYS, key=["ordered_at"])
    assert updated(keyed, row, {**row, "status": "paid"}) == (
        ("1970-01-01",),
        ("status",),
        "change",
    )


def test_a_full_previous_row_is_exact_for_any_values() -> None:
    orders = bound("debezium", partition=DAYS, before="full")
    row = {"id": 2, "ordered_at": 0, "status": "", "amount": None, "notes": None}

    assert updated(orders, row, row) is None
    assert updated(orders, row, {**row, "status": "paid"}) == (
        ("1970-01-01",),
        ("status",),
        "change",
    )
    assert deleted(orders, row) == (("1970-01-01",), ALL, "change")


REGIONS = {"region": {"dynamic": True}}


def test_a_null_in_a_deleted_row_makes_defaults_possible() -> None:
    """The log holds the primary key only, and without a schema the defaults are unavailable."""
    shops = bound("debezium", REGIONS, None)

    assert deleted(shops, {"id": 1, "region": "EU", "n": None}) == (ALL, ALL, "change!")
    assert deleted(shops, {"id": 1, "region": "EU", "n": 5}) == (("EU",), ALL, "change")
    keyed = bound("debezium", REGIONS, None, key=["region"])
    assert deleted(keyed, {"id": 1, "region": "EU", "n": None}) == (("EU",), ALL, "change")


def in_schema(op: str, before: object, after: object, *optional: str) -> bytes:
    """A message with its schema, in which `region` has a default; `optional` may be null."""

    def field(name: str, kind: str, **more: object) -> dict[str, object]:
        return {"field": name, "type": kind, "optional": name in optional, **more}

    fields = [
        field("id", "int32"),
        field("region", "string", default="EU"),
        field("n", "int32"),
        field("notes", "string"),
    ]
    rows = [{"field": name, "type": "struct", "fields": fields} for name in ("before", "after")]
    payload = {"op": op, "before": before, "after": after}
    return msgspec.json.encode({"schema": {"type": "struct", "fields": rows}, "payload": payload})


def test_a_default_in_the_schema_may_replace_a_value_missing_from_the_log() -> None:
    shops = bound("debezium", REGIONS, None)
    row: dict[str, object] = {"id": 1, "region": "EU", "n": 5, "notes": "x"}
    told = {**row, "region": "US"}

    assert _summary(shops(in_schema("d", row, None), {}, None)) == (ALL, ALL, "change!")
    assert _summary(shops(in_schema("d", told, None), {}, None)) == (("US",), ALL, "change")
    assert _summary(shops(in_schema("u", row, {**row, "n": 6}), {}, None)) == (ALL, ALL, "change!")
    assert _summary(shops(in_schema("u", told, {**told, "n": 6}), {}, None)) == (
        ("US",),
        ("n",),
        "change",
    )
    by_n = bound("debezium", {"n": {"range": 10}}, None)
    assert _summary(by_n(in_schema("u", row, {**row, "notes": "y"}), {}, None)) == (
        ("0-9",),
        ("notes", "region"),
        "change!",
    )


def test_a_value_in_a_nullable_column_proves_a_full_row() -> None:
    """Columns of a replica identity are never nullable."""
    shops = bound("debezium", REGIONS, None)
    row: dict[str, object] = {"id": 0, "region": "EU", "n": 0, "notes": "x"}
    message = in_schema("u", row, {**row, "id": 1}, "notes")

    assert _summary(shops(message, {}, None)) == (("EU",), ("id",), "change")
    assert _summary(shops(in_schema("d", row, None, "notes"), {}, None)) == (("EU",), ALL, "change")


def test_a_default_may_replace_a_null() -> None:
    """Kafka Connect's JSON converter writes defaults for nulls unless configured otherwise."""
    shops = bound("debezium", REGIONS, None, before="full")
    row: dict[str, object] = {"id": 1, "region": "EU", "n": 5, "notes": "x"}
    us = {**row, "region": "US"}

    assert _summary(shops(in_schema("c", None, row, "region"), {}, None)) == (ALL, ALL, "arrival!")
    assert _summary(shops(in_schema("u", row, {**row, "n": 6}, "region"), {}, None)) == (
        ALL,
        ALL,
        "change!",
    )
    assert _summary(shops(in_schema("u", us, {**us, "n": 6}, "region"), {}, None)) == (
        ("US",),
        ("n",),
        "change",
    )
    kept = bound("debezium", REGIONS, None, before="full", replace_null_with_default=False)
    assert _summary(kept(in_schema("u", row, {**row, "n": 6}, "region"), {}, None)) == (
        ("EU",),
        ("n",),
        "change",
    )


PLACEHOLDER = "__debezium_unavailable_value"


@pytest.mark.parametrize(
    "form",
    [
        lambda text: text,
        lambda text: b64encode(text.encode()).decode(),
        lambda text: text.encode().hex(),
        lambda text: [text],
        lambda text: [b64encode(text.encode()).decode()],
        lambda text: list(text.encode()),
        lambda text: [float(byte) for byte in text.encode()],
        lambda text: [b64encode(bytes([byte])).decode() for byte in text.encode()],
        lambda text: [
            {"scale": 0, "value": b64encode(bytes([byte])).decode()} for byte in text.encode()
        ],
        lambda text: [str(UUID(bytes=md5(text.encode()).digest(), version=3))],
        lambda text: {text: text},
        lambda text: msgspec.json.encode({text: text}).decode(),
    ],
)
@pytest.mark.parametrize("text", [PLACEHOLDER, "(unchanged)"])
def test_a_placeholder_of_any_type_has_not_changed(form: Any, text: str) -> None:
    large = bound("debezium", {}, ("n", "large"), placeholder=text)

    assert updated(large, {"n": 1, "large": ["x"]}, {"n": 2, "large": form(text)}) == (
        ("*",),
        ("n",),
        "change",
    )
    assert updated(large, {"n": 1, "large": ["x"]}, {"n": 1, "large": form(text)}) is None


def test_a_placeholder_has_no_key() -> None:
    regions = bound("debezium", REGIONS, None, key=["region"])
    message = msgspec.json.encode({"op": "u", "before": None, "after": {"region": PLACEHOLDER}})

    assert _summary(regions(message, {}, None)) == (ALL, ALL, "change!")


def test_heartbeats_and_transaction_markers_are_ignored() -> None:
    orders = bound("debezium", partition=DAYS)
    marks = [m for m in messages("plain") if "heartbeat" in m.topic or "transaction" in m.topic]

    assert len(marks) > 20
    assert all(orders(message.payload, {}, None) == [] for message in marks)


def test_only_the_bound_table_of_a_topic_is_read() -> None:
    orders = bound("debezium", partition=DAYS, table="public.orders_full")

    assert reported(orders, "plain", "orders_default") == [None] * 11
    assert reported(orders, "plain", "orders_full")[0] is not None


def test_columns_may_be_renamed_and_partitions_constant() -> None:
    orders = bound(
        "debezium",
        {"dt": {"time": "day"}, "region": {"static": ["EU", "US"]}},
        ("note", "dt"),
        partition={**DAYS, "region": {"constant": "EU"}},
        columns={"note": "notes"},
    )

    full = reported(orders, "plain", "orders_full")

    assert full[2] == (("dt=2026-01-02/region=EU",), ("note",), "change")
    assert full[5] is None  # status is not a column of the dataset


def test_a_column_absent_from_records_may_always_have_changed() -> None:
    orders = bound("debezium", known=("notes", "nots"), partition=DAYS)

    assert reported(orders, "plain", "orders_full")[2] == (
        ("2026-01-02",),
        ("notes", "nots"),
        "change!",
    )


def updated(read: Format, before: dict[str, object], after: dict[str, object]) -> Summary | None:
    message = msgspec.json.encode({"op": "u", "before": before, "after": after})
    return _summary(read(message, {}, None))


def test_a_row_may_move_by_a_field_that_is_not_a_column() -> None:
    days = {"field": "ts", "unit": "days"}
    daily = bound("debezium", partition={"dt": days}, columns={"ordered_at": "text"})
    halves = {
        "a": {"static": ["1", "2"], "column": "x"},
        "b": {"static": ["1", "2"], "column": "x"},
    }
    two = bound("debezium", halves, ("x",), partition={"a": {"field": "f"}, "b": {"field": "g"}})

    assert updated(daily, {"ts": 20454}, {"ts": 20455}) == (
        ("2026-01-01", "2026-01-02"),
        ALL,
        "change",
    )
    assert updated(two, {"f": 1, "g": 1}, {"f": 2, "g": 1}) == (
        ("a=1/b=1", "a=2/b=1"),
        ALL,
        "change",
    )


def test_two_fields_mapped_to_one_column_are_both_compared() -> None:
    renamed = bound("debezium", {}, None, columns={"a": "y"})
    let_be = {"y": 2, "a": "__debezium_unavailable_value"}

    assert updated(renamed, {"y": 1, "a": "large"}, let_be) == (("*",), ("a",), "change")


def test_a_field_may_have_any_name() -> None:
    quoted = bound("debezium", {}, ("x", "y"), columns={"x": 'x"\\\n'})

    assert updated(quoted, {'x"\\\n': 1, "y": 1}, {'x"\\\n': 2, "y": 1, "z": 1}) == (
        ("*",),
        ("x",),
        "change",
    )


def test_a_partition_may_be_partly_known() -> None:
    orders = bound(
        "debezium",
        {"dt": {"time": "day"}, "state": {"static": ["new", "old"], "column": "status"}},
        partition=DAYS,
    )

    assert reported(orders, "plain", "orders_full")[1:3] == [
        (("dt=2026-01-02",), ALL, "arrival!"),
        (("dt=2026-01-02",), ("notes",), "change!"),
    ]


@pytest.mark.parametrize(
    ("value", "why"),
    [
        (b"{", "not a Debezium event: "),
        (b"[]", "Expected `object`, got `array`"),
        (b'{"before": 1, "op": "u"}', "Expected `object | null`, got `int` - at `$.before`"),
        (b'{"op": "x"}', "op 'x' is none of c, u, d, r, t, m"),
        (b'{"op": "u", "after": null}', "the event with op 'u' has no `after`"),
        (b'{"id": 1, "ts_ms": 5}', "it has no `op`; remove the transform"),
        (
            b'{"op": "c", "after": {"ordered_at": 20455}}',
            "the time 20455 is a number without a unit: add `unit:`",
        ),
        (
            b'{"op": "c", "after": {"ordered_at": "\xff"}}',
            "UTF-8",
        ),
        (
            b'{"schema": 1, "payload": {"op": "t"}}',
            "the schema beside the payload cannot be read",
        ),
    ],
)
def test_a_rejection_has_the_reason(value: bytes, why: str) -> None:
    outcome = Reader(bound("debezium")).read(Delivery("kafka/t/0", "1", value, {}))

    assert isinstance(outcome, Rejection)
    assert why.lower() in outcome.error.lower()


def test_a_wrapper_may_be_a_tombstone() -> None:
    assert bound("debezium")(b'{"schema": null, "payload": null}', {}, None) == []
