"""Detection of compacted topics, in which the broker may remove unread messages."""

from collections.abc import Collection, Mapping
from typing import Any

from aiokafka.admin import AIOKafkaAdminClient
from aiokafka.admin.config_resource import ConfigResource, ConfigResourceType
from aiokafka.errors import KafkaError

_POLICY = "cleanup.policy"
_COMPACT = "compact"


async def compacted(connection: Mapping[str, Any], topics: Collection[str]) -> set[str]:
    """The compacted topics among ``topics``; empty if the broker does not report the policy."""
    admin = AIOKafkaAdminClient(**connection)
    resources = [
        ConfigResource(ConfigResourceType.TOPIC, topic, {_POLICY: None}) for topic in sorted(topics)
    ]
    try:
        await admin.start()
        responses = await admin.describe_configs(resources) if resources else []
    except (KafkaError, OSError, NotImplementedError):  # the last: an unsupported request
        return set()
    finally:
        await admin.close()
    configs = [config for response in responses for config in response.resources]
    return {
        topic
        for _, _, _, topic, entries in configs
        if any(name == _POLICY and _COMPACT in (value or "") for name, value, *_ in entries)
    }
