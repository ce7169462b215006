import msgspec
import pytest

from consumers.formats.knockon import read_events
from engine.errors import InvalidEvent
from engine.model.event import SourceEvent

FULL = SourceEvent(
    dataset="flights",
    partitions=("dt=2013-02-01..2013-02-07/origin=JFK",),
    columns=("dep_delay",),
    rows={"carrier": {"in": ["AA", "UA"]}},
    reason="correction",
    version="3f2c",
    id="batch-7",
    time="2013-02-08T00:00:00Z",
    source="loader",
    note="late file",
)


def read(value: bytes | None, dataset: str | None = None) -> list[SourceEvent]:
    return read_events(value, {}, dataset)


def test_an_event_reads_back_unchanged():
    assert read(msgspec.json.encode(FULL)) == [FULL]


def test_an_array_is_read_as_events_in_order():
    assert read(b'[{"dataset": "b"}, {"dataset": "a"}]') == [
        SourceEvent(dataset="b"),
        SourceEvent(dataset="a"),
    ]


def test_an_event_may_omit_or_repeat_the_bound_dataset():
    expected = [SourceEvent(dataset="flights", partitions=("2013",))]

    assert read(b'{"partitions": ["2013"]}', "flights") == expected
    assert read(b'{"dataset": "flights", "partitions": ["2013"]}', "flights") == expected


@pytest.mark.parametrize(
    ("value", "complaint"),
    [
        (None, "null value"),
        (b"", "not JSON"),
        (b"dataset: flights", "not JSON"),
        (b'"\xff"', "not JSON"),
        (b'"\\ud800"', "not JSON"),
        (b"[" * 200_000, "not JSON: maximum recursion depth"),
        (b"null", "an event is a JSON object, not null"),
        (b"3", "an event is a JSON object, not a number"),
        (b"true", "an event is a JSON object, not a boolean"),
        (b'"flights"', "an event is a JSON object, not a string"),
        (b'[{"dataset": "a"}, []]', "event 1 of 2: an event is a JSON object, not an array"),
        (b"{}", "missing required field `dataset`"),
        (b'{"dataset": "a", "partition": ["x"]}', "unknown field `partition`; its fields are"),
        (b'{"dataset": "a", "partitions": "x"}', r"`\$.partitions`"),
        (b'{"dataset": "a", "partitions": ["x", 3]}', r"got `int` - at `\$.partitions\[1\]`"),
        (b'{"dataset": "a", "columns": [null]}', r"at `\$.columns\[0\]`"),
        (b'{"dataset": "a", "rows": [1]}', r"at `\$.rows`"),
        (b'{"dataset": "a", "reason": "because"}', r"'because' - at `\$.reason`"),
        (b'{"dataset": "a", "id": 7}', r"at `\$.id`"),
    ],
)
def test_an_invalid_event_is_rejected_with_position_and_reason(value, complaint):
    with pytest.raises(InvalidEvent, match=complaint):
        read(value)


def test_an_event_for_a_dataset_other_than_the_bound_one_is_rejected():
    with pytest.raises(InvalidEvent, match=r"names dataset 'planes', but .* bound to 'flights'"):
        read(b'{"dataset": "planes"}', "flights")
