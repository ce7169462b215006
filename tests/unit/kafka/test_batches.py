from aiokafka import ConsumerRecord, TopicPartition

from consumers.formats.knockon import read_events
from consumers.formats.reading import Reader
from consumers.kafka.batches import Fetched, batch_of
from consumers.kafka.position import Position
from engine.model.event import Advance, Received, halved
from engine.model.reported_lineage import ReportedLineage

PARTITION = TopicPartition("changes", 3)


def record(offset: int, value: bytes | None, **headers: bytes | None) -> ConsumerRecord:
    return ConsumerRecord(
        "changes", 3, offset, 0, 0, None, value, None, -1, -1, tuple(headers.items())
    )


def positions(received: Received) -> list[str]:
    return [received.position for received in received.deliveries]


def test_a_batch_advances_each_partition_to_the_end_of_the_fetch():
    records = {PARTITION: [record(7, b'{"dataset": "a"}'), record(11, b"{")]}
    fetched = Fetched(records, {PARTITION: Position(5, "id")}, {PARTITION: 13})

    batch = batch_of("us", fetched, {"changes": Reader(read_events)})

    assert batch.consumer == "us"
    assert [positions(received) for received in batch.received] == [["7"]]
    assert [received.position for received in batch.rejections] == ["11"]
    assert batch.advances == (Advance(stream="kafka/changes/3", before="5@id", after="13@id"),)


def test_equal_events_are_coalesced_in_order():
    values = (
        b'{"dataset": "a", "id": "1", "note": "x"}',
        b'{"dataset": "b"}',
        b'{"dataset": "a", "id": "2"}',
        b'{"dataset": "a", "rows": {"c": 1}}',
        b'[{"dataset": "a", "id": "3"}, {"dataset": "a"}]',
    )
    records = {PARTITION: [record(n, value) for n, value in enumerate(values)]}

    batch = batch_of("us", Fetched(records, {}, {}), {"changes": Reader(read_events)})

    assert [
        (received.event.dataset, [*received.ids], positions(received))
        for received in batch.received
    ] == [
        ("a", ["1", "2"], ["0", "2"]),
        ("b", [None], ["1"]),
        ("a", [None], ["3"]),
        ("a", ["3"], ["4#0"]),
        ("a", [None], ["4#1"]),
    ]
    assert batch.received[0].event.note == "x"
    assert [received.value for received in batch.received[0].deliveries] == [values[0], values[2]]


def test_headers_are_lowercase_text():
    records = {PARTITION: [record(0, None, Trace=b"a\xff", empty=None)]}

    batch = batch_of("us", Fetched(records, {}, {}), {"changes": Reader(read_events)})

    assert batch.rejections[0].headers == {"trace": "a\\xff", "empty": ""}


def test_reported_lineage_is_kept_even_if_the_message_is_rejected():
    reported = [ReportedLineage(runs=(), names=(), columns=frozenset(), reads=(), naming=())]
    records = {PARTITION: [record(7, b'{"dataset": "a"}'), record(8, b"{")]}
    readers = {"changes": Reader(read_events, reported_lineage=lambda value: reported)}

    batch = batch_of("us", Fetched(records, {}, {}), readers)

    assert batch.reported_lineage == (*reported, *reported)


def test_events_of_one_scope_can_be_divided():
    records = {PARTITION: [record(n, b'{"dataset": "a"}') for n in (7, 8, 9)]}
    batch = batch_of("us", Fetched(records, {}, {}), {"changes": Reader(read_events)})
    halves = halved(batch.received)
    assert halves is not None
    assert [positions(received) for half in halves for received in half] == [["7"], ["8", "9"]]
