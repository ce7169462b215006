"""From a fetch to a batch."""

from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass

from aiokafka import ConsumerRecord, TopicPartition

from consumers.formats.reading import Reader
from consumers.kafka.position import Position
from consumers.kafka.records import delivery, read
from engine.model.event import Advance, Batch, Received, Rejection, RunReports
from engine.model.reported_lineage import ReportedLineage

Records = Mapping[TopicPartition, Sequence[ConsumerRecord]]


def stream_of(partition: TopicPartition) -> str:
    """The name of a partition in Knockon's ledger."""
    return f"kafka/{partition.topic}/{partition.partition}"


def topic_of(stream: str) -> str:
    """The topic of a stream in Knockon's ledger; empty for streams of other transports."""
    transport, _, place = stream.partition("/")
    return place.rpartition("/")[0] if transport == "kafka" else ""


def feed_of(topic: str) -> str:
    """The name of a topic in Knockon's ledger, for what its partitions share."""
    return f"kafka/{topic}"


@dataclass(frozen=True, slots=True)
class Fetched:
    """Some messages, read from these places, and the offset that each partition has come to."""

    records: Records
    places: dict[TopicPartition, Position]
    reached: Mapping[TopicPartition, int]


async def prepare(records: Records, readers: Mapping[str, Reader]) -> None:
    """Have the readers learn what they need for these records. Raises ServiceUnavailable."""
    for partition, fetched in records.items():
        await readers[partition.topic].prepare(record.value for record in fetched)


def batch_of(consumer: str, fetched: Fetched, readers: Mapping[str, Reader]) -> Batch:
    """Read all records; each partition moves from its place to where the fetch reached."""
    received: list[Received] = []
    rejections: list[Rejection] = []
    lineage: list[ReportedLineage] = []
    runs: list[RunReports] = []
    for partition, records in fetched.records.items():
        reader = readers[partition.topic]
        outcome = read(reader, stream_of(partition), records)
        received += outcome.received
        rejections += outcome.rejections
        if reader.reported_lineage:
            for record in records:
                lineage += reader.reported_lineage(record.value)
        if reader.run:
            stream = stream_of(partition)
            deliveries = (delivery(stream, record) for record in records)
            runs += reader.runs(feed_of(partition.topic), deliveries)
    return Batch(
        consumer=consumer,
        received=tuple(received),
        rejections=tuple(rejections),
        advances=tuple(_advances(fetched)),
        reported_lineage=tuple(lineage),
        runs=tuple(runs),
    )


def undecodable(
    consumer: str, partition: TopicPartition, place: Position, error: UnicodeDecodeError
) -> Batch:
    """Move past a message that the client cannot decode: its batch has a header of a wrong name."""
    stream, offset = stream_of(partition), place.offset
    why = (
        f"a header's name is not UTF-8 ({error}), in this message or in another that was sent in "
        "one batch with it: read it with a tool that can, and send what it says again"
    )
    return Batch(
        consumer=consumer,
        rejections=(
            Rejection(stream=stream, position=str(offset), payload=None, error=why, is_loss=True),
        ),
        advances=(_advance(partition, place, offset + 1),),
    )


def _advances(fetched: Fetched) -> Iterable[Advance]:
    for partition, offset in fetched.reached.items():
        yield _advance(partition, fetched.places[partition], offset)


def _advance(partition: TopicPartition, place: Position, offset: int) -> Advance:
    after = place.at(offset).to_text()
    return Advance(stream=stream_of(partition), before=place.to_text(), after=after)
