"""What the broker is told of how far we are: for its lag tools alone, so once a second will do."""

import asyncio
from collections.abc import Mapping
from time import monotonic

import structlog
from aiokafka import AIOKafkaConsumer, TopicPartition
from aiokafka.errors import KafkaError

_EVERY_SECONDS = 1.0
_PATIENCE_SECONDS = 5.0

_log = structlog.get_logger(__name__)


class Commits:
    """The offsets that the broker has not been told of yet."""

    def __init__(self, client: AIOKafkaConsumer, consumer: str) -> None:
        self._client = client
        self._consumer = consumer
        self._untold: dict[TopicPartition, int] = {}
        self._told_at = 0.0

    def note(self, offsets: Mapping[TopicPartition, int]) -> None:
        """Have the broker told that these partitions have been written up to there."""
        self._untold.update(offsets)

    async def tell_if_due(self) -> None:
        """Tell the broker, unless it has been told within the last second."""
        if self._untold and monotonic() - self._told_at >= _EVERY_SECONDS:
            await self.tell()

    async def tell(self) -> None:
        """Tell the broker of what is left; of partitions that are another's by now, they will."""
        ours = self._client.assignment()
        offsets = {each: self._untold[each] for each in self._untold if each in ours}
        self._untold.clear()
        self._told_at = monotonic()
        if not offsets:
            return
        try:
            await asyncio.wait_for(self._client.commit(offsets), _PATIENCE_SECONDS)
        except (KafkaError, TimeoutError) as error:
            _log.info("offsets not committed", consumer=self._consumer, why=repr(error))
