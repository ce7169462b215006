"""The partitions that topics have."""

from collections.abc import Collection, Mapping
from typing import Any

from aiokafka import TopicPartition
from aiokafka.admin import AIOKafkaAdminClient


async def partitions_of(
    connection: Mapping[str, Any], topics: Collection[str]
) -> list[TopicPartition]:
    """All partitions of those topics that are there. Raises aiokafka's KafkaError."""
    admin = AIOKafkaAdminClient(**connection)
    try:
        await admin.start()
        found = await admin.describe_topics(sorted(topics)) if topics else []
    finally:
        await admin.close()
    return [
        TopicPartition(each["topic"], partition["partition"])
        for each in found
        for partition in each["partitions"]
    ]
