"""Moving stored positions to another place of the log, so that it is read again from there."""

from collections.abc import Collection, Mapping
from datetime import datetime
from typing import Any, Literal

from aiokafka import AIOKafkaConsumer, TopicPartition
from aiokafka.errors import KafkaError, UnsupportedVersionError

from consumers.kafka.batches import stream_of
from consumers.kafka.settings import KafkaSettings, Positions
from engine.errors import InvalidInput, ServiceUnavailable
from engine.model.event import Advance

Origin = Literal["earliest", "latest"] | datetime
"""The oldest message that is there, the next one to come, or the first that is not older."""


async def moves(settings: KafkaSettings, positions: Positions, origin: Origin) -> list[Advance]:
    """How the positions of all partitions of the topics move to get there, by stream.

    To write them is safe while others consume: positions move by compare-and-set, so whoever has
    a batch in hand finds its position gone, drops the batch and goes on from the new one. Raises
    ServiceUnavailable, and InvalidInput from a broker that cannot find offsets by time.
    """
    client = AIOKafkaConsumer(**settings.connection, isolation_level="read_committed")
    try:
        await client.start()
        offsets = await _offsets(client, await _partitions(client, settings.readers), origin)
    except KafkaError as error:
        raise ServiceUnavailable(
            f"the Kafka broker does not say where to begin: {error!r}"
        ) from error
    finally:
        await client.stop()
    stored = await positions()
    advances = (_advance(stored, stream_of(each), offset) for each, offset in offsets.items())
    return sorted((each for each in advances if each.before != each.after), key=_stream)


async def _partitions(client: AIOKafkaConsumer, topics: Collection[str]) -> list[TopicPartition]:
    there = await client.topics()
    return [
        TopicPartition(topic, number)
        for topic in there.intersection(topics)
        for number in client.partitions_for_topic(topic) or ()
    ]


async def _offsets(
    client: AIOKafkaConsumer, partitions: list[TopicPartition], origin: Origin
) -> Mapping[TopicPartition, int]:
    if origin == "earliest":
        return dict(await client.beginning_offsets(partitions))
    ends: dict[TopicPartition, int] = await client.end_offsets(partitions)
    if not isinstance(origin, datetime):
        return ends
    found = await _by_time(client, partitions, origin)
    return {each: ends[each] if found[each] is None else found[each].offset for each in partitions}


async def _by_time(
    client: AIOKafkaConsumer, partitions: list[TopicPartition], moment: datetime
) -> Mapping[TopicPartition, Any]:
    """The first offset of each partition that is not older, or None where all are."""
    milliseconds = max(0, int(moment.timestamp() * 1000))
    try:
        found = await client.offsets_for_times(dict.fromkeys(partitions, milliseconds))
    except UnsupportedVersionError as error:
        raise InvalidInput(
            "this Kafka broker cannot find offsets by time: begin at earliest or latest"
        ) from error
    return dict(found)


def _advance(stored: Mapping[str, str], stream: str, offset: int) -> Advance:
    return Advance(stream=stream, before=stored.get(stream), after=str(offset))


def _stream(advance: Advance) -> str:
    return advance.stream
