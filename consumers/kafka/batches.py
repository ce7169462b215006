"""Conversion of fetched records to a batch for ingestion."""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass

from aiokafka import ConsumerRecord, TopicPartition

from consumers.formats.reading import Reader
from consumers.kafka.position import Position
from consumers.kafka.records import delivery, read
from engine.model.event import Advance, Batch, Received, Rejection, RunReports
from engine.model.reported_lineage import ReportedLineage

Records = Mapping[TopicPartition, Sequence[ConsumerRecord]]


def stream_of(partition: TopicPartition) -> str:
    """The name of a partition in Knockon's database."""
    return f"kafka/{partition.topic}/{partition.partition}"


def topic_of(stream: str) -> str:
    """The topic of a stream; empty for streams of other transports."""
    transport, _, partition = stream.partition("/")
    return partition.rpartition("/")[0] if transport == "kafka" else ""


def feed_of(topic: str) -> str:
    """The name of a topic in Knockon's database, for data shared by its partitions."""
    return f"kafka/{topic}"


@dataclass(frozen=True, slots=True)
class Fetched:
    """Fetched records, the positions they were fetched from, and the next offsets to fetch."""

    records: Records
    positions: dict[TopicPartition, Position]
    reached: Mapping[TopicPartition, int]


async def prepare(records: Records, readers: Mapping[str, Reader]) -> None:
    """Prepare the readers for some records. Raises ServiceUnavailable."""
    for partition, fetched in records.items():
        await readers[partition.topic].prepare(record.value for record in fetched)


def batch_of(consumer: str, fetched: Fetched, readers: Mapping[str, Reader]) -> Batch:
    """Read all records, and advance each partition from its position to the offset reached."""
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
        advances=tuple(
            _advance(partition, fetched.positions[partition], offset)
            for partition, offset in fetched.reached.items()
        ),
        reported_lineage=tuple(lineage),
        runs=tuple(runs),
    )


def undecodable(
    consumer: str, partition: TopicPartition, position: Position, error: UnicodeDecodeError
) -> Batch:
    """Skip a message that the client cannot decode because of a header name in its record batch."""
    stream, offset = stream_of(partition), position.offset
    why = (
        f"a header's name is not UTF-8 ({error}), in this message or in another of the same record "
        "batch: read the message with another tool and send the event again with a valid header"
    )
    return Batch(
        consumer=consumer,
        rejections=(
            Rejection(stream=stream, position=str(offset), payload=None, error=why, is_loss=True),
        ),
        advances=(_advance(partition, position, offset + 1),),
    )


def _advance(partition: TopicPartition, position: Position, offset: int) -> Advance:
    after = position.at(offset).to_text()
    return Advance(stream=stream_of(partition), before=position.to_text(), after=after)
