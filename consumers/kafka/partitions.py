"""The partitions of topics."""

from collections.abc import Collection, Mapping
from typing import Any

from aiokafka import TopicPartition
from aiokafka.admin import AIOKafkaAdminClient


async def partitions_of(
    connection: Mapping[str, Any], topics: Collection[str]
) -> list[TopicPartition]:
    """All partitions of the existing topics among ``topics``. Raises aiokafka's KafkaError."""
    admin = AIOKafkaAdminClient(**connection)
    try:
        await admin.start()
        described = await admin.describe_topics(sorted(topics)) if topics else []
    finally:
        await admin.close()
    return [
        TopicPartition(topic["topic"], partition["partition"])
        for topic in described
        for partition in topic["partitions"]
    ]
