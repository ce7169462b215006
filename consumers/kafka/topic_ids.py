"""Topic ids, which distinguish a topic from a deleted or recreated topic of the same name."""

import asyncio
from base64 import urlsafe_b64encode
from collections import defaultdict
from collections.abc import Collection, Iterable

from aiokafka import AIOKafkaConsumer, TopicPartition
from aiokafka.errors import KafkaError

from consumers.kafka.topics_request import NO_ID, TopicsRequest

_CONNECTION = "topic ids"  # a separate connection, because requests queue behind fetches
_TIMEOUT_SECONDS = 5.0


async def topic_ids(
    client: AIOKafkaConsumer, partitions: Iterable[TopicPartition]
) -> dict[TopicPartition, str]:
    """The topic id of each partition, in Kafka's notation.

    Requests go to the partitions' leaders, whose metadata is updated before they serve a new log.
    Partitions are left out if the topic does not exist, or if the broker is too old or down.
    """
    by_leader: defaultdict[int | None, list[TopicPartition]] = defaultdict(list)
    for partition in partitions:
        by_leader[_leader(client, partition)].append(partition)
    requests = (
        _request(client, node, {partition.topic for partition in led})
        for node, led in by_leader.items()
    )
    responses = zip(by_leader.values(), await asyncio.gather(*requests), strict=True)
    return {
        partition: ids[partition.topic]
        for led, ids in responses
        for partition in led
        if partition.topic in ids
    }


def _leader(client: AIOKafkaConsumer, partition: TopicPartition) -> int | None:
    """The leader in the client's metadata, or else a random broker."""
    leader: int | None = client._client.cluster.leader_for_partition(partition)
    if leader is None or leader < 0:
        leader = client._client.get_random_node()
    return leader


async def _request(
    client: AIOKafkaConsumer, node: int | None, topics: Collection[str]
) -> dict[str, str]:
    sending = client._client.send(node, TopicsRequest(topics), group=_CONNECTION)
    try:
        response = await asyncio.wait_for(sending, _TIMEOUT_SECONDS)
    except (KafkaError, TimeoutError, NotImplementedError):  # the last: unsupported version
        return {}
    return {
        name: urlsafe_b64encode(uuid).decode().rstrip("=")
        for _, name, uuid, *_ in response.topics
        if uuid != NO_ID
    }
