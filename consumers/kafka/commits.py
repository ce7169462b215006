"""Commits of offsets to the broker, at most once a second: only lag tools use them."""

import asyncio
from collections.abc import Mapping
from time import monotonic

import structlog
from aiokafka import AIOKafkaConsumer, TopicPartition
from aiokafka.errors import KafkaError

_EVERY_SECONDS = 1.0
_TIMEOUT_SECONDS = 5.0

_log = structlog.get_logger(__name__)


class Commits:
    """The offsets that have not been committed to the broker yet."""

    def __init__(self, client: AIOKafkaConsumer, consumer: str) -> None:
        self._client = client
        self._consumer = consumer
        self._pending: dict[TopicPartition, int] = {}
        self._committed_at = 0.0

    def record(self, offsets: Mapping[TopicPartition, int]) -> None:
        """Record the next offsets of partitions for a later commit."""
        self._pending.update(offsets)

    async def commit_if_due(self) -> None:
        """Commit pending offsets, unless the last commit was less than a second ago."""
        if self._pending and monotonic() - self._committed_at >= _EVERY_SECONDS:
            await self.commit()

    async def commit(self) -> None:
        """Commit pending offsets of assigned partitions; new owners commit the others."""
        assigned = self._client.assignment()
        offsets = {
            partition: offset
            for partition, offset in self._pending.items()
            if partition in assigned
        }
        self._pending.clear()
        self._committed_at = monotonic()
        if not offsets:
            return
        try:
            await asyncio.wait_for(self._client.commit(offsets), _TIMEOUT_SECONDS)
        except (KafkaError, TimeoutError) as error:
            _log.info("offsets not committed", consumer=self._consumer, why=repr(error))
