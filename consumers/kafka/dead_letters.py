"""Dead letter topics with copies of rejected messages; the database has the originals."""

import asyncio
import time
from collections import defaultdict
from collections.abc import Iterable, Sequence

import structlog
from aiokafka import AIOKafkaProducer, ConsumerRecord

from consumers.kafka.batches import Records, stream_of
from consumers.kafka.settings import KafkaSettings
from engine.model.event import Rejection

_log = structlog.get_logger(__name__)
_TIMEOUT_SECONDS = 5.0
_PAUSE_SECONDS = 30.0
_Letter = tuple[ConsumerRecord, Rejection]
_NO_LIMIT = 2**31 - 1  # the broker enforces its own limit


class DeadLetterTopic:
    """The configured dead letter topics, and a producer that starts with the first dead letter.

    Messages that cannot be sent are logged and not retried. After a timeout nothing is sent to the
    topic for half a minute, so that a missing topic does not block the consumer.
    """

    def __init__(self, settings: KafkaSettings) -> None:
        self._topics = _topics(settings)
        self._connection = settings.connection
        self._producer: AIOKafkaProducer | None = None
        self._starting = asyncio.Lock()
        self._paused_until: dict[str, float] = {}

    async def send(self, records: Records, rejections: Sequence[Rejection]) -> None:
        """Send each rejected message among some records once."""
        letters: dict[str, list[_Letter]] = defaultdict(list)
        for record, rejection in _rejected(records, rejections):
            topic = self._topics.get(record.topic)
            if topic and time.monotonic() >= self._paused_until.get(topic, 0.0):
                letters[topic].append((record, rejection))
        await asyncio.gather(*(self._try(topic, batch) for topic, batch in letters.items()))

    async def _try(self, topic: str, letters: Iterable[_Letter]) -> None:
        try:
            async with asyncio.timeout(_TIMEOUT_SECONDS):
                await self._produce(topic, letters)
        except TimeoutError:
            self._paused_until[topic] = time.monotonic() + _PAUSE_SECONDS
            why = f"no response in {_TIMEOUT_SECONDS:.0f} seconds: check that the topic exists"
            _log_not_sent(topic, why)
        except Exception as error:  # the database has the letters: nothing may stop the consumer
            _log_not_sent(topic, repr(error))

    async def stop(self) -> None:
        """Stop the producer."""
        producer, self._producer = self._producer, None
        if producer is not None:
            await producer.stop()

    async def _produce(self, topic: str, letters: Iterable[_Letter]) -> None:
        """Send all letters, then raise the first error if any failed."""
        async with self._starting:
            producer = await self._started()
        sending = [
            producer.send_and_wait(
                topic, _value(record), key=record.key, headers=_headers(record, rejection)
            )
            for record, rejection in letters
        ]
        for outcome in await asyncio.gather(*sending, return_exceptions=True):
            if isinstance(outcome, BaseException):
                raise outcome

    async def _started(self) -> AIOKafkaProducer:
        if self._producer is None:
            producer = AIOKafkaProducer(**self._connection, acks="all", max_request_size=_NO_LIMIT)
            try:
                await producer.start()
            except BaseException:
                await producer.stop()
                raise
            self._producer = producer
        return self._producer


def _topics(settings: KafkaSettings) -> dict[str, str]:
    """The dead letter topic of each topic that is read; never a topic that is read itself."""
    read, default = settings.readers.keys(), settings.dead_letter_topic
    configured = {topic: settings.dead_letter_topics.get(topic, default) for topic in read}
    for topic in sorted(read & {*configured.values()}):
        _log.error(
            "dead letters are not sent to a topic that is itself read: use another topic",
            topic=topic,
        )
    return {
        topic: letters for topic, letters in configured.items() if letters and letters not in read
    }


def _log_not_sent(topic: str, why: str) -> None:
    _log.error("dead letters are in the database only", topic=topic, why=why)


def _rejected(records: Records, rejections: Sequence[Rejection]) -> Iterable[_Letter]:
    """Each rejected record with its first rejection; losses have no record."""
    by_position = {(r.stream, r.position.partition("#")[0]): r for r in rejections[::-1]}
    for partition, fetched in records.items():
        for record in fetched:
            rejection = by_position.get((stream_of(partition), str(record.offset)))
            if rejection is not None:
                yield record, rejection


def _value(record: ConsumerRecord) -> bytes | None:
    """Return the record's value; the producer refuses messages with neither key nor value."""
    return b"" if record.key is None and record.value is None else record.value


def _headers(record: ConsumerRecord, rejection: Rejection) -> list[tuple[str, bytes | None]]:
    return [
        *record.headers,
        ("x-knockon-error", rejection.error.encode()),
        ("x-knockon-stream", rejection.stream.encode()),
        ("x-knockon-position", rejection.position.encode()),
    ]
