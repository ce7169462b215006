"""Creation of the topics of deployed DAGs on an embedded broker."""

import asyncio
from collections.abc import Collection
from uuid import UUID

from aiokafka.errors import KafkaError

from consumers.sources import load_sources
from engine.cli.runtime.session import Session
from engine.embedded.broker import Broker
from engine.errors import ServiceUnavailable
from engine.loops.orgs import load_orgs
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

    async def _orgs(self) -> Collection[UUID]:
        if not self._session.org.is_all:
            return [self._session.org.id]
        return await load_orgs(self._session.database)

    async def _create_missing(self) -> bool:
        topics: set[str] = set()
        async with self._session.connection() as conn:
            for org_id in await self._orgs():
                org = self._session.service.org_context(org_id)
                topics |= set((await load_sources(conn, org)).topics)
        for topic in sorted(topics - self._created):
            try:
                await self._broker.create_topic(topic)
            except KafkaError as error:
                raise ServiceUnavailable(f"cannot create topic {topic!r}: {error!r}") from error
            self._created.add(topic)
        return False
