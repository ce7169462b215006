"""Topics that are compacted: the broker removes messages in them that nobody has read."""

from collections.abc import Collection, Mapping
from typing import Any

from aiokafka.admin import AIOKafkaAdminClient
from aiokafka.admin.config_resource import ConfigResource, ConfigResourceType
from aiokafka.errors import KafkaError

_POLICY = "cleanup.policy"
_COMPACT = "compact"


async def compacted(connection: Mapping[str, Any], topics: Collection[str]) -> set[str]:
    """Those of the topics that are compacted, as far as the broker reports it."""
    admin = AIOKafkaAdminClient(**connection)
    asked = [
        ConfigResource(ConfigResourceType.TOPIC, topic, {_POLICY: None}) for topic in sorted(topics)
    ]
    try:
        await admin.start()
        answers = await admin.describe_configs(asked) if asked else []
    except (KafkaError, OSError, NotImplementedError):  # the last: no such request there
        return set()
    finally:
        await admin.close()
    resources = [resource for answer in answers for resource in answer.resources]
    return {name for _, _, _, name, entries in resources if _is_compacted(entries)}


def _is_compacted(entries: Collection[Any]) -> bool:
    return any(name == _POLICY and _COMPACT in (value or "") for name, value, *_ in entries)
