"""What Debezium said of real changes, and what Knockon makes of it."""

import msgspec
import pytest

from consumers.formats.format import Format
from consumers.formats.reading import Reader
from engine.model.event import Delivery, Rejection, SourceEvent, Widened
from tests.support.bindings import bound
from tests.support.debezium.messages import messages

DAYS = {"dt": {"field": "ordered_at", "unit": "days"}}
ALL = "all"
Said = tuple[object, object, str]


def said(read: Format, recording: str, table: str) -> list[Said | None]:
    """Partitions, columns and reason of each message's event; `!` marks a widened one."""
    return [_said(read(each.payload, {}, None)) for each in messages(recording, table)]


def _said(events: list[SourceEvent]) -> Said | None:
    assert len(events) <= 1
    for event in events:
        widened = "!" if isinstance(event, Widened) else ""
        return event.partitions or ALL, event.columns or ALL, event.reason + widened
    return None


def test_with_the_whole_row_as_it_was_an_update_is_what_it_changed() -> None:
    orders = bound("debezium", partition=DAYS)

    assert said(orders, "plain", "orders_full") == [
        (("2026-01-01",), ALL, "arrival"),  # the snapshot
        (("2026-01-02",), ALL, "arrival"),
        (("2026-01-02",), ("notes",), "change"),
        None,  # notes = notes
        (("2026-01-02", "2026-01-03"), ALL, "change"),  # moved
        (("2026-01-03",), ("status",), "change"),
        (("2026-01-03",), ALL, "change"),  # another primary key: deleted,
        None,  # its tombstone,
        (("2026-01-03",), ALL, "arrival"),  # and inserted
        (("2026-01-03",), ALL, "change"),  # deleted
        None,
        (ALL, ALL, "change"),  # truncated
    ]


def test_without_the_row_as_it_was_anything_may_have_changed() -> None:
    orders = bound("debezium", partition=DAYS)

    assert said(orders, "plain", "orders_default") == [
        (("2026-01-01",), ALL, "arrival"),
        (("2026-01-02",), ALL, "arrival"),
        (ALL, ALL, "change!"),
        (ALL, ALL, "change!"),
        (ALL, ALL, "change!"),
        (ALL, ALL, "change!"),
        (ALL, ALL, "change!"),  # the row as it was has day 0, which stands for: not told
        None,
        (("2026-01-03",), ALL, "arrival"),
        (ALL, ALL, "change!"),
        None,
    ]


def test_a_partition_in_the_replica_identity_is_told_whenever_it_changes() -> None:
    orders = bound("debezium", partition=DAYS, key=["ordered_at", "status"])

    assert said(orders, "plain", "orders_index")[2:] == [
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


def test_a_partition_in_the_primary_key_is_told_even_when_it_is_a_zero() -> None:
    fields = {"dt": {"field": "dt", "unit": "days"}}
    parts = bound("debezium", {"dt": {"time": "day"}}, ("dt", "id"), partition=fields, key=["dt"])
    row = b'{"op": "d", "before": {"dt": 0, "id": 1}, "after": null}'

    assert said(parts, "plain", "parts")[:2] == [
        (("2026-01-02",), ALL, "arrival"),
        (("2026-01-02",), ALL, "change!"),
    ]
    assert _said(parts(row, {}, None)) == (("1970-01-01",), ALL, "change")


@pytest.mark.parametrize("recording", ["plain", "schemas", "strings", "doubles"])
@pytest.mark.parametrize("column", ["d", "ts", "tstz", "n", "anyn", "big", "yes", "u", "name"])
def test_a_zero_in_a_deleted_row_may_stand_for_anything(recording: str, column: str) -> None:
    """The table has no REPLICA IDENTITY FULL and no column takes null."""
    by_column = bound("debezium", {"p": {"dynamic": True, "column": column}}, None)

    *_, deleted, _ = said(by_column, recording, "strict")

    assert deleted == (ALL, ALL, "change!")


@pytest.mark.parametrize("recording", ["plain", "schemas", "strings", "doubles", "nanos"])
def test_all_types_are_compared_as_they_are(recording: str) -> None:
    kinds = bound("debezium", {}, None)

    assert said(kinds, recording, "kinds") == [
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
def test_times_of_every_kind_fall_into_their_day(recording: str, column: str) -> None:
    unit = UNITS[recording].get(column)
    field = {"field": column} | ({"unit": unit} if unit else {})
    kinds = bound("debezium", {"dt": {"time": "day"}}, None, partition={"dt": field})

    inserted, nulls, *_ = said(kinds, recording, "kinds")

    assert inserted == (("2026-01-02",), ALL, "arrival")
    assert nulls == (ALL, ALL, "arrival!")


@pytest.mark.parametrize(
    ("column", "hour"),
    [
        ("ts", "2026-01-02T23"),  # without a time zone: as the clock shows it
        ("tstz", "2026-01-03T05"),
    ],
)
@pytest.mark.parametrize("recording", ["plain", "schemas"])
def test_a_time_without_a_zone_is_read_on_the_clock_of_the_dimension(
    recording: str, column: str, hour: str
) -> None:
    field = {"field": column} | (
        {"unit": "micros"} if column == "ts" and recording == "plain" else {}
    )
    hourly = {"h": {"time": "hour", "zone": "Asia/Kathmandu"}}

    inserted, *_ = said(bound("debezium", hourly, None, partition={"h": field}), recording, "kinds")

    assert inserted == ((hour,), ALL, "arrival")


def test_an_infinite_time_is_in_no_partition() -> None:
    kinds = bound("debezium", {"dt": {"time": "day", "column": "tstz"}}, None)

    *_, moved = said(kinds, "plain", "kinds")

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
def test_numbers_fall_into_their_run(
    recording: str, column: str, unit: str | None, key: str
) -> None:
    field = {"field": column} | ({"unit": unit} if unit else {})
    kinds = bound("debezium", {"n": {"range": 1000}}, None, partition={"n": field})

    assert said(kinds, recording, "kinds")[0] == ((key,), ALL, "arrival")


def test_a_large_value_that_was_let_be_has_not_changed() -> None:
    columns = ("id", "n", "words", "bytes", "list")
    large = bound("debezium", {}, columns)

    assert said(large, "plain", "large_full")[1:] == [
        (("*",), ("n",), "change"),
        (("*",), ("words",), "change"),
    ]
    before = '{"id": 1, "n": 1, "words": "long", "bytes": "AAAA", "list": ["a"]}'
    [*_, update] = messages("plain", "large_default")
    told = (update.value or "").replace('"before":null', f'"before":{before}')
    assert _said(large(told.encode(), {}, None)) == (("*",), ("n",), "change")


def test_heartbeats_and_marks_of_transactions_say_nothing() -> None:
    orders = bound("debezium", partition=DAYS)
    marks = [m for m in messages("plain") if "heartbeat" in m.topic or "transaction" in m.topic]

    assert len(marks) > 20
    assert all(orders(each.payload, {}, None) == [] for each in marks)


def test_of_a_topic_with_several_tables_one_counts() -> None:
    orders = bound("debezium", partition=DAYS, table="public.orders_full")

    assert said(orders, "plain", "orders_default") == [None] * 11
    assert said(orders, "plain", "orders_full")[0] is not None


def test_columns_may_be_called_otherwise_and_a_constant_is_a_partition() -> None:
    orders = bound(
        "debezium",
        {"dt": {"time": "day"}, "region": {"static": ["EU", "US"]}},
        ("note", "dt"),
        partition={**DAYS, "region": {"constant": "EU"}},
        columns={"note": "notes"},
    )

    full = said(orders, "plain", "orders_full")

    assert full[2] == (("dt=2026-01-02/region=EU",), ("note",), "change")
    assert full[5] is None  # status is no column of the dataset


def test_a_column_that_records_do_not_have_may_always_have_changed() -> None:
    orders = bound("debezium", known=("notes", "nots"), partition=DAYS)

    assert said(orders, "plain", "orders_full")[2] == (
        ("2026-01-02",),
        ("notes", "nots"),
        "change!",
    )


def updated(read: Format, before: dict[str, object], after: dict[str, object]) -> Said | None:
    message = msgspec.json.encode({"op": "u", "before": before, "after": after})
    return _said(read(message, {}, None))


def test_a_row_moves_by_a_field_that_is_no_column() -> None:
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


def test_of_two_fields_of_one_name_each_counts() -> None:
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


def test_half_of_a_place_is_known() -> None:
    orders = bound(
        "debezium",
        {"dt": {"time": "day"}, "state": {"static": ["new", "old"], "column": "status"}},
        partition=DAYS,
    )

    assert said(orders, "plain", "orders_full")[1:3] == [
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
        (b'{"op": "u", "after": null}', "op 'u' without `after`: there is no row in it"),
        (b'{"id": 1, "ts_ms": 5}', "it has no `op`; if a transform made plain rows"),
        (
            b'{"op": "c", "after": {"ordered_at": 20455}}',
            "20455 is to be a time, and nothing says what it counts: add `unit:`",
        ),
        (
            b'{"op": "c", "after": {"ordered_at": "\xff"}}',
            "not a Debezium event: 'utf-8' codec",
        ),
        (b'{"schema": 1, "payload": {"op": "t"}}', "schema of the Debezium event cannot be read"),
    ],
)
def test_a_rejection_says_what_is_wrong(value: bytes, why: str) -> None:
    outcome = Reader(bound("debezium")).read(Delivery("kafka/t/0", "1", value, {}))

    assert isinstance(outcome, Rejection)
    assert why in outcome.error


def test_a_wrapper_may_be_a_tombstone() -> None:
    assert bound("debezium")(b'{"schema": null, "payload": null}', {}, None) == []
