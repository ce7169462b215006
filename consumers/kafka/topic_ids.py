"""The id of a topic, which tells it from another one of the same name, before it or after it."""

import asyncio
from base64 import urlsafe_b64encode
from collections import defaultdict
from collections.abc import Collection, Iterable

from aiokafka import AIOKafkaConsumer, TopicPartition
from aiokafka.errors import KafkaError

from consumers.kafka.topics_request import NO_ID, TopicsRequest

_CONNECTION = "topic ids"  # one of its own: on that of the fetches it would wait behind them
_PATIENCE_SECONDS = 5.0


async def topic_ids(
    client: AIOKafkaConsumer, partitions: Iterable[TopicPartition]
) -> dict[TopicPartition, str]:
    """By partition, the id of the topic that it belongs to, in Kafka's own notation.

    Its leader is asked, which knows of a new topic before it serves the log of it. Partitions of
    which nobody tells are left out: the topic is not there, the broker is older, or is away.
    """
    led: defaultdict[int | None, list[TopicPartition]] = defaultdict(list)
    for each in partitions:
        led[_leader(client, each)].append(each)
    asking = (_ask(client, node, {each.topic for each in those}) for node, those in led.items())
    told = zip(led.values(), await asyncio.gather(*asking), strict=True)
    return {each: ids[each.topic] for those, ids in told for each in those if each.topic in ids}


def _leader(client: AIOKafkaConsumer, partition: TopicPartition) -> int | None:
    """The leader as far as the client knows, or else any broker that it knows."""
    leader: int | None = client._client.cluster.leader_for_partition(partition)
    if leader is None or leader < 0:
        leader = client._client.get_random_node()
    return leader


async def _ask(
    client: AIOKafkaConsumer, node: int | None, topics: Collection[str]
) -> dict[str, str]:
    asking = client._client.send(node, TopicsRequest(topics), group=_CONNECTION)
    try:
        answer = await asyncio.wait_for(asking, _PATIENCE_SECONDS)
    except (KafkaError, TimeoutError, NotImplementedError):  # the last: no such version there
        return {}
    return {name: _text(uuid) for _, name, uuid, *_ in answer.topics if uuid != NO_ID}


def _text(uuid: bytes) -> str:
    return urlsafe_b64encode(uuid).decode().rstrip("=")
