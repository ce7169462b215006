"""On an embedded broker: the topics that deployed DAGs name come into being by themselves."""

import asyncio

from aiokafka.errors import KafkaError

from consumers.sources import load_sources
from engine.cli.session import Session
from engine.embedded.broker import Broker
from engine.errors import ServiceUnavailable
from engine.loops.periodic import run_periodically

_LOOK_SECONDS = 1.0


class Topics:
    """Makes what is named and not there yet, and looks again every second."""

    def __init__(self, session: Session, broker: Broker) -> None:
        self._session = session
        self._broker = broker
        self._made: set[str] = set()

    async def run(self, stop: asyncio.Event) -> None:
        """Look after the topics until ``stop`` is set."""
        await run_periodically("topics", self._make, stop, _LOOK_SECONDS)

    async def _make(self) -> bool:
        async with self._session.connection() as conn:
            named = set((await load_sources(conn, self._session.org_context)).topics)
        for topic in sorted(named - self._made):
            await self._make_one(topic)
        return False

    async def _make_one(self, topic: str) -> None:
        try:
            await self._broker.create_topic(topic)
        except KafkaError as error:
            raise ServiceUnavailable(f"topic {topic!r} cannot be made: {error!r}") from error
        self._made.add(topic)
