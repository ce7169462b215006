"""The Kafka consumer: ingests messages in batches, each exactly once.

Knockon's database stores the positions and advances them by compare-and-set in the transaction that
writes the events. Neither a crash, nor a rebalance, nor an owner that notices a rebalance late can
lose a message or write it twice. Offsets committed to the broker only serve lag tools.
"""

import asyncio

import structlog
from aiokafka import AIOKafkaConsumer

from consumers.kafka.backoff import Backoff
from consumers.kafka.commits import Commits
from consumers.kafka.dead_letters import DeadLetterTopic
from consumers.kafka.lag import clear_lag
from consumers.kafka.session import Session
from consumers.kafka.settings import Ingest, KafkaSettings, Positions
from engine.monitor.pulse import Pulse, pulsing
from engine.stopping import unless_stopped

_NOT_JOINED = "has not joined its group"
_TURN_SECONDS = 1.0

_log = structlog.get_logger(__name__)
_LEAVE_SECONDS = 10.0


class KafkaConsumer:
    """A consumer of some topics; up to one per partition may run with the same name."""

    def __init__(self, settings: KafkaSettings, ingest: Ingest, positions: Positions) -> None:
        self._settings = settings
        self._ingest = ingest
        self._positions = positions
        self._dead_letters = DeadLetterTopic(settings)

    async def run(self, stop: asyncio.Event) -> None:
        """Consume until `stop` is set, then finish the current batch and leave the group.

        Retries during outages of the broker and of the database. A batch that cannot be written
        before the stop is fetched again by the next consumer.
        """
        backoff = Backoff(stop)
        try:
            with pulsing("kafka", _TURN_SECONDS, waits_for=_NOT_JOINED) as pulse:
                while not stop.is_set():
                    pulse.beat()
                    try:
                        await self._join(stop, backoff, pulse)
                    except Exception as error:
                        name = self._settings.name
                        _log.error("interrupted, joining again", consumer=name, why=repr(error))
                        await backoff.wait()
        finally:
            await self._dead_letters.stop()

    async def _join(self, stop: asyncio.Event, backoff: Backoff, pulse: Pulse) -> None:
        """Join the group and consume until `stop` is set. Raises errors of the client."""
        client = AIOKafkaConsumer(**self._settings.for_client())
        session = Session(
            client=client,
            settings=self._settings,
            ingest=self._ingest,
            load_positions=self._positions,
            dead_letters=self._dead_letters,
            stop=stop,
            backoff=backoff,
            pulse=pulse,
            commits=Commits(client, self._settings.name),
        )
        try:
            await unless_stopped(stop, client.start())
            await session.run()
        finally:
            pulse.waits_for = _NOT_JOINED
            clear_lag(self._settings.name)
            await _leave(client)


async def _leave(client: AIOKafkaConsumer) -> None:
    """Leave the group and close all connections, in whatever state the client is.

    While a broker is down, `stop` of the client may be canceled by one of the client's own tasks
    and leave connections open, so they are closed here.
    """
    leaving = asyncio.ensure_future(client.stop())
    await asyncio.wait({leaving}, timeout=_LEAVE_SECONDS)
    if not leaving.done() or leaving.cancelled() or leaving.exception():
        leaving.cancel()
        await client._client.close()
