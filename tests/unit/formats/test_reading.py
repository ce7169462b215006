from contextlib import suppress

import msgspec
import pytest
from hypothesis import given
from hypothesis import strategies as st

from consumers.formats.cloudevents import read_cloudevent
from consumers.formats.format import Format
from consumers.formats.knockon import read_events
from consumers.formats.reading import Reader
from engine.errors import InvalidEvent
from engine.model.event import MAX_KEPT_BYTES, Delivery, Received, Rejection, SourceEvent

STREAM = "kafka/changes/0"


def delivery(value: bytes | None, **headers: str) -> Delivery:
    return Delivery(stream=STREAM, position="12", value=value, headers=headers)


def position(received: Received) -> str:
    (delivery,) = received.deliveries
    return delivery.position


def rejected(value: bytes | None, read: Format = read_events) -> str:
    outcome = Reader(read).read(delivery(value))
    assert isinstance(outcome, Rejection)
    return outcome.error


def event(**fields: object) -> bytes:
    return msgspec.json.encode({"dataset": "flights", **fields})


def test_an_event_has_the_position_of_its_message():
    assert Reader(read_events).read(delivery(event())) == [
        Received.one(SourceEvent(dataset="flights"), delivery(event()))
    ]


def test_each_member_of_an_array_has_a_position_of_its_own():
    outcome = Reader(read_events).read(delivery(b"[" + event() + b"," + event() + b"]"))

    assert [position(received) for received in outcome] == ["12#0", "12#1"]


def test_a_dead_letter_of_an_array_member_is_read_again_alone():
    array = b"[" + event(note="a") + b"," + event(note="b") + b"]"

    [received] = Reader(read_events).read_again(Delivery(STREAM, "12#1", array, {}))

    assert (position(received), received.event.note) == ("12#1", "b")


def test_a_corrected_dead_letter_may_be_a_single_event_or_still_invalid():
    reader = Reader(read_events)

    [received] = reader.read_again(Delivery(STREAM, "12#1", event(), {}))
    wrong = reader.read_again(Delivery(STREAM, "12#1", b"{", {}))

    assert received.event.dataset == "flights"
    assert isinstance(wrong, Rejection)
    assert wrong.position == "12#1"


def test_a_rejection_keeps_the_payload_the_headers_and_the_reason():
    assert Reader(read_events).read(delivery(b"{", trace="7")) == Rejection(
        stream=STREAM,
        position="12",
        payload=b"{",
        error="not JSON: Input data was truncated",
        headers={"trace": "7"},
    )


@pytest.mark.parametrize(
    ("value", "complaint"),
    [
        (b"[]", "the array is empty"),
        (b"[" + b",".join([event()] * 10_001) + b"]", "10001 events"),
        (event(partitions=[str(n) for n in range(10_001)]), "length <= 10000 - at `$.partitions`"),
        (event(partitions=[]), "length >= 1 - at `$.partitions`"),
        (event(partitions=[""]), "`$.partitions[0]`"),
        (event(partitions=["x" * 501]), "length <= 500 - at `$.partitions[0]`"),
        (event(columns=[]), "length >= 1 - at `$.columns`"),
        (event(rows={}), "`$.rows`"),
        (event(rows={"a": {"in": [{"b": 1}]}}), "`$.rows[...]"),
        (event(rows={"a": [1]}), "`$.rows[...]"),
        (b'{"dataset": "a", "rows": {"b": 18446744073709551616}}', "`$.rows[...]"),
        (event(id=""), "`$.id`"),
        (event(id="x" * 501), "`$.id`"),
        (event(time="soon"), "`$.time`"),
        (event(note="a\0"), "NUL"),
        (event(rows={"a\0": 1}), "NUL"),
        (b'{"dataset": ""}', "`$.dataset`"),
    ],
)
def test_values_out_of_bounds_are_rejected(value, complaint):
    assert complaint in rejected(value)


def test_a_message_beyond_the_limit_is_rejected_unread_and_kept():
    outcome = Reader(read_events).read(delivery(b" " * 10_000_000))

    assert isinstance(outcome, Rejection)
    assert "the message has 10000000 bytes, the limit is 1048576" in outcome.error
    assert outcome.payload == b" " * 10_000_000


def test_a_huge_message_is_kept_in_part():
    outcome = Reader(read_events).read(delivery(b" " * (MAX_KEPT_BYTES + 1)))

    assert isinstance(outcome, Rejection)
    assert "the first 16777216 of 16777217 bytes are kept" in outcome.error
    assert outcome.payload == b" " * MAX_KEPT_BYTES


def test_an_escaped_backslash_before_u0000_is_accepted():
    assert isinstance(Reader(read_events).read(delivery(event(note="\\u0000"))), list)


def test_an_error_from_hostile_input_can_be_stored():
    name = "\0" + "x" * 100_000

    error = rejected(event(**{name: 1}))

    assert "\0" not in error
    assert len(error) == 1000


def test_a_failing_format_rejects_only_the_message():
    def broken(value, headers, dataset):
        raise KeyError("half \ud800")

    assert rejected(b"", broken) == "the format failed: KeyError: 'half \\ud800'"


def test_a_format_may_return_lists_for_tuples():
    def read(value, headers, dataset):
        return [SourceEvent(dataset="flights", partitions=["a"], columns=["b"])]

    [received] = Reader(read).read(delivery(b""))

    assert (received.event.partitions, received.event.columns) == (("a",), ("b",))


json_values = st.recursive(
    st.none() | st.booleans() | st.integers() | st.floats(allow_nan=False) | st.text(),
    lambda inner: st.lists(inner) | st.dictionaries(st.text(), inner),
)
near_events = st.fixed_dictionaries(
    {},
    optional={
        **dict.fromkeys(SourceEvent.__struct_fields__, json_values),
        **dict.fromkeys(["specversion", "type", "subject", "data", "data_base64"], json_values),
        "dataset": st.text(),
    },
)
values = st.none() | st.binary() | (json_values | near_events).map(msgspec.json.encode)
headers = st.dictionaries(
    st.sampled_from(["content-type", "ce_specversion", "ce_id", "ce_source", "ce_type"]),
    st.sampled_from(["1.0", "application/cloudevents+json", "application/json"]) | st.text(),
)


@given(values, headers, st.none() | st.just("flights"))
@pytest.mark.parametrize("read", [read_events, read_cloudevent])
def test_any_input_is_read_or_rejected_by_a_format(read, value, headers, dataset):
    with suppress(InvalidEvent):
        assert all(isinstance(event, SourceEvent) for event in read(value, headers, dataset))


@given(values, headers)
@pytest.mark.parametrize("read", [read_events, read_cloudevent])
def test_any_outcome_of_reading_can_be_stored(read, value, headers):
    outcome = Reader(read).read(Delivery(STREAM, "1", value, headers))

    assert b"\\u0000" not in msgspec.json.encode(outcome).replace(b"\\\\", b"")
