"""Kafka in: batches of messages become batches of events, each written once.

Truth about positions is in Knockon's database and moves by compare-and-set in the transaction
that writes the events. So a crash, a rebalance or an owner that was slow to notice one can
neither lose a message nor write it twice. What the broker is told is for its lag tools only.
"""

import asyncio

import structlog
from aiokafka import AIOKafkaConsumer

from consumers.kafka.commits import Commits
from consumers.kafka.dead_letters import DeadLetterTopic
from consumers.kafka.lag import forget_lag
from consumers.kafka.session import Session
from consumers.kafka.settings import Ingest, KafkaSettings, Positions
from consumers.kafka.waiting import Patience, unless_stopped
from engine.monitor.pulse import Pulse, pulsing

_NOT_JOINED = "has not joined its group"
_TURN_SECONDS = 1.0

_log = structlog.get_logger(__name__)
_LEAVE_SECONDS = 10.0


class KafkaConsumer:
    """A consumer of some topics; run as many of one name as there are partitions."""

    def __init__(self, settings: KafkaSettings, ingest: Ingest, positions: Positions) -> None:
        self._settings = settings
        self._ingest = ingest
        self._positions = positions
        self._dead_letters = DeadLetterTopic(settings)

    async def run(self, stop: asyncio.Event) -> None:
        """Consume until `stop` is set, then finish the batch in hand and leave the group.

        Outages of the broker and of the database are waited out; a batch that could not be
        written by the time of the stop stays with the broker.
        """
        patience = Patience(stop)
        try:
            with pulsing("kafka", _TURN_SECONDS, waits_for=_NOT_JOINED) as pulse:
                while not stop.is_set():
                    await self._stay(stop, patience, pulse)
        finally:
            await self._dead_letters.stop()

    async def _stay(self, stop: asyncio.Event, patience: Patience, pulse: Pulse) -> None:
        pulse.beat()
        try:
            await self._join(stop, patience, pulse)
        except Exception as error:
            _log.error("interrupted, joining again", consumer=self._settings.name, why=repr(error))
            await patience.wait()

    async def _join(self, stop: asyncio.Event, patience: Patience, pulse: Pulse) -> None:
        client = AIOKafkaConsumer(**self._settings.for_client())
        session = Session(
            client=client,
            settings=self._settings,
            ingest=self._ingest,
            positions=self._positions,
            dead_letters=self._dead_letters,
            stop=stop,
            patience=patience,
            pulse=pulse,
            commits=Commits(client, self._settings.name),
        )
        try:
            await unless_stopped(stop, client.start())
            await session.run()
        finally:
            pulse.waits_for = _NOT_JOINED
            forget_lag()
            await _leave(client)


async def _leave(client: AIOKafkaConsumer) -> None:
    """Leave the group and let go of every connection, whatever state the client is in.

    While a broker is away, stopping a client may end in the cancellation of one of its own tasks,
    with its connections open; so they are closed from here.
    """
    leaving = asyncio.ensure_future(client.stop())
    await asyncio.wait({leaving}, timeout=_LEAVE_SECONDS)
    if not leaving.done() or leaving.cancelled() or leaving.exception():
        leaving.cancel()
        await client._client.close()
