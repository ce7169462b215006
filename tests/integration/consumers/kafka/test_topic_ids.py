"""Topic ids, from brokers with and without support for them."""

import asyncio
import re
from contextlib import asynccontextmanager

from aiokafka import AIOKafkaConsumer, TopicPartition

from consumers.kafka.topic_ids import topic_ids
from engine.embedded.broker import EmbeddedBroker
from tests.support.kafka import delete_topic, on_both

METADATA = 3


@asynccontextmanager
async def reading(broker, *partitions: TopicPartition):
    async with AIOKafkaConsumer(**broker.connection) as client:
        await client.beginning_offsets(list(partitions))
        yield client


def partitions_of(topic) -> list[TopicPartition]:
    return [TopicPartition(topic.name, n) for n in range(4)]


async def until_told(client, partitions, *, of: set[TopicPartition]) -> dict[TopicPartition, str]:
    """A broker reports its metadata from the controller with a delay."""
    async with asyncio.timeout(30):
        while (ids := await topic_ids(client, partitions)).keys() != of:  # noqa: ASYNC110
            await asyncio.sleep(0.05)
    return ids


@on_both
async def test_a_topic_keeps_its_id_until_it_is_recreated(broker, wide_topic):
    partitions = partitions_of(wide_topic)
    async with reading(broker, *partitions) as client:
        before = await topic_ids(client, partitions)
        again = await topic_ids(client, partitions)
        await delete_topic(broker, wide_topic.name)
        await until_told(client, partitions, of=set())
        await broker.create_topic(wide_topic.name, 4)
        after = await until_told(client, partitions, of=set(partitions))

    assert before == again
    [old], [new] = set(before.values()), set(after.values())
    assert old != new
    assert re.fullmatch(r"[\w-]{22}", old)


@on_both
async def test_ids_of_topics_unknown_to_the_client_are_found(broker, topic):
    there, nowhere = TopicPartition(topic.name, 0), TopicPartition(f"no-{topic.name}", 0)
    async with AIOKafkaConsumer(**broker.connection) as client:
        await until_told(client, [there, nowhere], of={there})
        assert nowhere.topic not in await client.topics(), "it was made by the asking"


@on_both
async def test_a_broker_before_version_28_returns_no_ids(broker, topic):
    partition = TopicPartition(topic.name, 0)
    async with reading(broker, partition) as client:
        assert await topic_ids(client, [partition])
        for connection in client._client._conns.values():
            connection._versions[METADATA] = (0, 9)  # as if negotiated in the handshake
        assert await topic_ids(client, [partition]) == {}


async def test_an_unavailable_broker_returns_no_ids():
    partition = TopicPartition("changes", 0)
    with EmbeddedBroker() as broker:
        await broker.create_topic("changes")
        async with reading(broker, partition) as client:
            assert await topic_ids(client, [partition])
            broker.stop()
            assert await topic_ids(client, [partition]) == {}
