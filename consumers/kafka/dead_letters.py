"""Topics that get a copy of every message that is rejected; the truth is in the database."""

import asyncio
import time
from collections import defaultdict
from collections.abc import Iterable, Sequence

import structlog
from aiokafka import AIOKafkaProducer, ConsumerRecord
from aiokafka.errors import KafkaError

from consumers.kafka.batches import Records, stream_of
from consumers.kafka.settings import KafkaSettings
from engine.model.event import Rejection

_log = structlog.get_logger(__name__)
_PATIENCE_SECONDS = 5.0
_PAUSE_SECONDS = 30.0
_Letter = tuple[ConsumerRecord, Rejection]
_NO_LIMIT = 2**31 - 1  # a message that the broker once took is left for the broker to judge


class DeadLetterTopic:
    """The topics of the settings, if any, and a producer to them once there is something to send.

    What cannot be sent is logged and left at that. After a time-out nothing is sent to that topic
    for half a minute, so that one that is not there does not hold up the stream.
    """

    def __init__(self, settings: KafkaSettings) -> None:
        self._topics = _topics(settings)
        self._connection = settings.connection
        self._producer: AIOKafkaProducer | None = None
        self._starting = asyncio.Lock()
        self._closed_until: dict[str, float] = {}

    async def send(self, records: Records, rejections: Sequence[Rejection]) -> None:
        """Send the messages among these records that were rejected, each once."""
        letters: dict[str, list[_Letter]] = defaultdict(list)
        for record, rejection in _rejected(records, rejections):
            topic = self._topics.get(record.topic)
            if topic and time.monotonic() >= self._closed_until.get(topic, 0.0):
                letters[topic].append((record, rejection))
        await asyncio.gather(*(self._try(topic, found) for topic, found in letters.items()))

    async def _try(self, topic: str, letters: Iterable[_Letter]) -> None:
        try:
            async with asyncio.timeout(_PATIENCE_SECONDS):
                await self._produce(topic, letters)
        except TimeoutError:
            self._closed_until[topic] = time.monotonic() + _PAUSE_SECONDS
            _complain(topic, f"no answer in {_PATIENCE_SECONDS:.0f} seconds: is it there?")
        except (KafkaError, OSError) as error:
            _complain(topic, repr(error))

    async def stop(self) -> None:
        """Let go of the broker."""
        producer, self._producer = self._producer, None
        if producer is not None:
            await producer.stop()

    async def _produce(self, topic: str, letters: Iterable[_Letter]) -> None:
        """Send them all, and only then raise what the first one that failed did."""
        async with self._starting:
            producer = await self._started()
        sending = [
            producer.send_and_wait(
                topic, record.value, key=record.key, headers=_headers(record, rejection)
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
    """By topic that is read, the one for its dead letters, which is never one that is read too."""
    read, usual = settings.readers.keys(), settings.dead_letter_topic
    meant = {topic: settings.dead_letter_topics.get(topic, usual) for topic in read}
    for topic in sorted(read & {*meant.values()}):
        _log.error("dead letters are not sent to a topic that is read", topic=topic)
    return {topic: letters for topic, letters in meant.items() if letters and letters not in read}


def _complain(topic: str, why: str) -> None:
    _log.error("dead letters are in the database only", topic=topic, why=why)


def _rejected(records: Records, rejections: Sequence[Rejection]) -> Iterable[_Letter]:
    """Each record that was rejected, with the first reason; a loss has no record."""
    by_place = {(each.stream, each.position.partition("#")[0]): each for each in rejections[::-1]}
    for partition, fetched in records.items():
        for record in fetched:
            rejection = by_place.get((stream_of(partition), str(record.offset)))
            if rejection is not None:
                yield record, rejection


def _headers(record: ConsumerRecord, rejection: Rejection) -> list[tuple[str, bytes | None]]:
    return [
        *record.headers,
        ("x-knockon-error", rejection.error.encode()),
        ("x-knockon-stream", rejection.stream.encode()),
        ("x-knockon-position", rejection.position.encode()),
    ]
