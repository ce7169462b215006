"""Rewinding: moving stored positions to another offset, to read messages again or skip them."""

from collections.abc import Mapping
from datetime import datetime
from operator import attrgetter
from typing import Literal

from aiokafka import AIOKafkaConsumer, TopicPartition
from aiokafka.errors import KafkaError

from consumers.kafka.batches import stream_of
from consumers.kafka.partitions import partitions_of
from consumers.kafka.position import Position
from consumers.kafka.settings import KafkaSettings, Positions
from consumers.kafka.topic_ids import topic_ids
from engine.errors import ServiceUnavailable
from engine.model.event import Advance

Origin = Literal["earliest", "latest"] | datetime
"""The oldest existing message, the next message, or the first message from a time on."""


async def rewinds(
    settings: KafkaSettings, load_positions: Positions, origin: Origin
) -> list[Advance]:
    """The changes that move all positions of the topics to ``origin``, sorted by stream.

    Writing them is safe while consumers run: positions are moved by compare-and-set, so a consumer
    with an unwritten batch loses its position, discards the batch and resumes from the new one.
    Raises ServiceUnavailable, also if the broker does not support offsets by time.
    """
    client = AIOKafkaConsumer(**settings.connection, isolation_level="read_committed")
    try:
        partitions = await partitions_of(settings.connection, settings.readers)
        await client.start()
        ids = await topic_ids(client, partitions)
        offsets = await _offsets(client, partitions, origin)
    except KafkaError as error:
        raise ServiceUnavailable(
            f"the Kafka broker did not return offsets: {error!r}; check "
            "KNOCKON_KAFKA_BOOTSTRAP_SERVERS and that the broker is running"
        ) from error
    finally:
        await client.stop()
    stored = await load_positions()
    advances = (
        Advance(
            stream=stream_of(partition),
            before=stored.get(stream_of(partition)),
            after=Position(offset, ids.get(partition)).to_text(),
        )
        for partition, offset in offsets.items()
    )
    return sorted(
        (advance for advance in advances if advance.before != advance.after),
        key=attrgetter("stream"),
    )


async def _offsets(
    client: AIOKafkaConsumer, partitions: list[TopicPartition], origin: Origin
) -> Mapping[TopicPartition, int]:
    if origin == "earliest":
        return dict(await client.beginning_offsets(partitions))
    ends: dict[TopicPartition, int] = await client.end_offsets(partitions)
    if not isinstance(origin, datetime):
        return ends
    milliseconds = max(0, int(origin.timestamp() * 1000))
    first = await client.offsets_for_times(dict.fromkeys(partitions, milliseconds))
    return {
        partition: ends[partition] if first[partition] is None else first[partition].offset
        for partition in partitions
    }
