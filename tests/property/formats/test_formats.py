"""A format rejects or accepts any message without omitting a changed (partition, column)."""

from typing import Any

import msgspec
from hypothesis import given, settings
from hypothesis import strategies as st

from consumers.formats.bounds import checked
from consumers.formats.format import BOUND_FORMATS, Format
from engine.errors import InvalidEvent
from engine.model.event import SourceEvent
from tests.support.bindings import bound

COLUMNS = ("dt", "k", "a", "b")
SPACE = {"dt": {"time": "day", "start": "2026-01-01", "end": "2026-01-05"}, "k": {"range": 10}}
EVERY = {
    "debezium": bound("debezium"),
    "record": bound("record"),
    "s3": bound("s3", {}, pattern="{ordered_at}/*"),
    "openlineage": bound("openlineage"),
}
JSON = st.recursive(
    st.none() | st.booleans() | st.integers() | st.floats(allow_nan=False) | st.text(max_size=8),
    lambda inner: (
        st.lists(inner, max_size=3) | st.dictionaries(st.text(max_size=8), inner, max_size=3)
    ),
    max_leaves=12,
)
WORDS = st.one_of(
    st.sampled_from(["op", "c", "u", "d", "r", "t", "before", "after", "payload", "ts_ms"]),
    st.sampled_from(["schema", "fields", "field", "name", "source", "status", "BEGIN"]),
    st.sampled_from(["eventType", "COMPLETE", "run", "runId", "job", "namespace", "outputs"]),
    st.sampled_from(["outputFacets", "subset", "outputCondition", "type", "left", "right"]),
    st.sampled_from(["ordered_at", "Records", "eventName", "s3", "object", "key", "detail"]),
)
NEAR_MISS = st.recursive(
    JSON | WORDS,
    lambda inner: st.dictionaries(WORDS, inner, max_size=5) | st.lists(inner, max_size=2),
    max_leaves=20,
)
CONDITION = st.recursive(
    NEAR_MISS
    | st.fixed_dictionaries(
        {
            "type": st.just("partition"),
            "partitions": st.lists(st.fixed_dictionaries({"dimensions": NEAR_MISS})),
        }
    )
    | st.fixed_dictionaries({"type": st.just("location"), "locations": st.lists(st.text())}),
    lambda inner: st.fixed_dictionaries(
        {
            "type": st.just("binary"),
            "operator": st.sampled_from(["AND", "OR"]),
            "left": inner,
            "right": inner,
        }
    ),
    max_leaves=5,
)
CELL = st.sampled_from([None, 0, 1, True, 1.0, "", "x", "0", [1], {"a": 1}, 2**70, 2**70 + 1, 0.1])
DAY = st.sampled_from([None, 0, 20454, 20455, 20456, 99999])
NUMBER = st.sampled_from([None, 0, 3, 9, 10, 11])
ROW = st.fixed_dictionaries({"id": st.just(1), "dt": DAY, "k": NUMBER, "a": CELL, "b": CELL})


def test_every_bound_format_is_covered() -> None:
    assert EVERY.keys() == BOUND_FORMATS.keys()


@given(st.sampled_from(sorted(EVERY)), st.none() | st.binary() | NEAR_MISS.map(msgspec.json.encode))
def test_any_message_is_read_or_rejected(name: str, value: bytes | None) -> None:
    try:
        events = EVERY[name](value, {}, None)
    except InvalidEvent:
        return
    assert checked(events) == events


@given(CONDITION)
def test_any_output_of_a_run_is_read_or_rejected(condition: object) -> None:
    facets = {"subset": {"outputCondition": condition}}
    output = {"namespace": "n", "name": "orders", "outputFacets": facets}
    event = {"eventType": "COMPLETE", "run": {"runId": "r"}, "outputs": [output]}
    try:
        events = EVERY["openlineage"](msgspec.json.encode(event), {}, None)
    except InvalidEvent:
        return
    assert [event.dataset for event in events] == ["orders"]
    assert checked(events) == events


FIELDS = {"dt": {"field": "dt", "unit": "days"}, "k": "k"}
orders: Format = bound("debezium", SPACE, COLUMNS, partition=FIELDS)
full: Format = bound("debezium", SPACE, COLUMNS, partition=FIELDS, before="full")


def encoded(op: str, before: object, after: object) -> bytes:
    return msgspec.json.encode({"op": op, "before": before, "after": after})


def keys(row: dict[str, Any]) -> tuple[str | None, str | None]:
    """The partition of a row, computed independently of the format; None: no partition."""
    day = f"2026-01-{row['dt'] - 20453:02}" if row["dt"] in range(20454, 20458) else None
    lo = None if row["k"] is None else row["k"] // 10 * 10
    return day, None if lo is None else f"{lo}-{lo + 9}"


def covers(event: SourceEvent, row: dict[str, Any]) -> bool:
    """Check that an event includes the partition of a row, or all partitions if there is none."""

    def inside(text: str) -> bool:
        said = dict(part.split("=") for part in text.split("/"))
        return all(
            said.get(name, key) == key for name, key in zip(("dt", "k"), keys(row), strict=True)
        )

    return event.partitions is None or any(map(inside, event.partitions))


@settings(max_examples=400)
@given(ROW, ROW)
def test_an_update_covers_every_changed_partition_and_column(
    before: dict[str, Any], after: dict[str, Any]
) -> None:
    events = full(encoded("u", before, after), {}, None)

    told, tells = (msgspec.json.encode(row, order="sorted") for row in (before, after))
    changed = {
        c for c in COLUMNS if msgspec.json.encode(before[c]) != msgspec.json.encode(after[c])
    }
    assert bool(events) == (told != tells)
    for event in events:
        assert covers(event, before)
        assert covers(event, after)
        assert event.columns is None or set(event.columns) == changed
        assert event.columns is None or keys(before) == keys(after)


@given(ROW, st.sampled_from(["full", "key", "nothing"]))
def test_values_missing_from_the_log_are_covered(row: dict[str, Any], identity: str) -> None:
    """Debezium reports columns outside the replica identity as null, or zero if not nullable."""
    told = {
        "full": row,
        "key": {"id": row["id"], "dt": 0, "k": 0, "a": None, "b": ""},
        "nothing": None,
    }[identity]

    [event] = orders(encoded("d", told, None), {}, None)

    assert event.columns is None
    assert covers(event, row)


PLACEHOLDERS = {"id": [0], "dt": [0], "k": [0], "a": [None, ""], "b": [None, 0]}


@settings(max_examples=400)
@given(ROW, ROW, st.sets(st.sampled_from(sorted(PLACEHOLDERS))), st.data())
def test_an_update_covers_values_missing_from_the_previous_row(
    before: dict[str, Any], after: dict[str, Any], missing: set[str], data: st.DataObject
) -> None:
    told = before | {each: data.draw(st.sampled_from(PLACEHOLDERS[each])) for each in missing}

    events = orders(encoded("u", told, after), {}, None)

    changed = {
        c for c in COLUMNS if msgspec.json.encode(before[c]) != msgspec.json.encode(after[c])
    }
    assert bool(events) or not changed
    for event in events:
        assert covers(event, before)
        assert covers(event, after)
        assert event.columns is None or set(event.columns) >= changed


@given(ROW, ROW)
def test_an_update_without_the_previous_row_covers_any(
    before: dict[str, Any], after: dict[str, Any]
) -> None:
    [event] = orders(encoded("u", None, after), {}, None)

    assert event.columns is None
    assert covers(event, before)
    assert covers(event, after)
