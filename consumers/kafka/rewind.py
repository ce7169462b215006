"""Moving stored positions to another place of the log, so that it is read again from there."""

from collections.abc import Mapping
from datetime import datetime
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
"""The oldest message that is there, the next one to come, or the first that is not older."""


async def moves(settings: KafkaSettings, positions: Positions, origin: Origin) -> list[Advance]:
    """How the positions of all partitions of the topics move to get there, by stream.

    To write them is safe while others consume: positions move by compare-and-set, so whoever has
    a batch in hand finds its position gone, drops the batch and goes on from the new one. Raises
    ServiceUnavailable, also where the broker cannot find offsets by time.
    """
    client = AIOKafkaConsumer(**settings.connection, isolation_level="read_committed")
    try:
        partitions = await partitions_of(settings.connection, settings.readers)
        await client.start()
        told = await topic_ids(client, partitions)
        offsets = await _offsets(client, partitions, origin)
    except KafkaError as error:
        raise ServiceUnavailable(
            f"the Kafka broker does not say where to begin: {error!r}"
        ) from error
    finally:
        await client.stop()
    stored = await positions()
    advances = (
        _advance(stored, stream_of(each), Position(offset, told.get(each)))
        for each, offset in offsets.items()
    )
    return sorted((each for each in advances if each.before != each.after), key=_stream)


async def _offsets(
    client: AIOKafkaConsumer, partitions: list[TopicPartition], origin: Origin
) -> Mapping[TopicPartition, int]:
    if origin == "earliest":
        return dict(await client.beginning_offsets(partitions))
    ends: dict[TopicPartition, int] = await client.end_offsets(partitions)
    if not isinstance(origin, datetime):
        return ends
    milliseconds = max(0, int(origin.timestamp() * 1000))
    found = await client.offsets_for_times(dict.fromkeys(partitions, milliseconds))
    return {each: ends[each] if found[each] is None else found[each].offset for each in partitions}


def _advance(stored: Mapping[str, str], stream: str, position: Position) -> Advance:
    return Advance(stream=stream, before=stored.get(stream), after=position.to_text())


def _stream(advance: Advance) -> str:
    return advance.stream
