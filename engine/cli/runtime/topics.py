"""Creation of the topics of deployed DAGs on an embedded broker."""

import asyncio

from aiokafka.errors import KafkaError

from consumers.sources import load_sources
from engine.cli.runtime.session import Session
from engine.embedded.broker import Broker
from engine.errors import ServiceUnavailable
from engine.loops.periodic import run_periodically

_INTERVAL_SECONDS = 1.0


class TopicCreator:
    """Creates missing topics every second."""

    def __init__(self, session: Session, broker: Broker) -> None:
        self._session = session
        self._broker = broker
        self._created: set[str] = set()

    async def run(self, stop: asyncio.Event) -> None:
        """Create topics until ``stop`` is set."""
        await run_periodically("topics", self._create_missing, stop, _INTERVAL_SECONDS)

    async def _create_missing(self) -> bool:
        async with self._session.connection() as conn:
            topics = set((await load_sources(conn, self._session.org_context)).topics)
        for topic in sorted(topics - self._created):
            try:
                await self._broker.create_topic(topic)
            except KafkaError as error:
                raise ServiceUnavailable(f"cannot create topic {topic!r}: {error!r}") from error
            self._created.add(topic)
        return False
