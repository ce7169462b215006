"""What was produced: the topic's own log, read back, with what every message has to cause."""

import asyncio
from collections.abc import AsyncIterator, Iterable, Sequence
from contextlib import asynccontextmanager
from typing import NamedTuple

from aiokafka import AIOKafkaConsumer, AIOKafkaProducer, TopicPartition

from engine.embedded.broker import Broker
from tests.faults.orders import Message, Scope

_MARK = "n"
_MOST_BYTES = 20_000_000


class Produced(NamedTuple):
    """A message in the log, at its place."""

    stream: str
    offset: int
    scope: Scope | None
    is_poison: bool


class Producer:
    """Sends messages; `log` is what has become of them.

    One that the broker may or may not have taken when it was killed is sent again, so that only
    the log itself knows how often it is there.
    """

    def __init__(self, broker: Broker, topic: str, partitions: int) -> None:
        self.topic = topic
        self.log: list[Produced] = []
        self.ends = {TopicPartition(topic, n): 0 for n in range(partitions)}
        self._broker = broker
        self._sent: list[tuple[Scope | None, bool]] = []
        self._client = AIOKafkaProducer(
            **broker.connection, acks="all", max_request_size=_MOST_BYTES, linger_ms=2
        )

    async def send(self, messages: Sequence[Message]) -> None:
        """Return when the broker has every one of them, however often it is away meanwhile."""
        first = len(self._sent)
        self._sent += [(each.scope, each.is_poison) for each in messages]
        await self._send(list(enumerate(messages, first)))

    async def _send(self, numbered: list[tuple[int, Message]]) -> None:
        while numbered:
            sending = [
                await self._client.send(
                    self.topic,
                    each.value,
                    key=each.key,
                    headers=[(_MARK, str(number).encode())],
                )
                for number, each in numbered
            ]
            outcomes = await asyncio.gather(*sending, return_exceptions=True)
            pairs = zip(numbered, outcomes, strict=True)
            numbered = [each for each, outcome in pairs if isinstance(outcome, BaseException)]

    async def read_back(self) -> None:
        """Have in `log` and `ends` all that the topic holds by now."""
        async with AIOKafkaConsumer(
            **self._broker.connection,
            max_partition_fetch_bytes=_MOST_BYTES,
            auto_offset_reset="none",
        ) as reader:
            reader.assign(list(self.ends))
            for partition, offset in self.ends.items():
                reader.seek(partition, offset)
            ends = await reader.end_offsets(list(self.ends))
            while any(self.ends[each] < ends[each] for each in ends):
                for partition, records in (await reader.getmany(timeout_ms=500)).items():
                    self._note(partition, records)

    def _note(self, partition: TopicPartition, records: Iterable) -> None:
        stream = f"kafka/{partition.topic}/{partition.partition}"
        for record in records:
            scope, is_poison = self._sent[int(dict(record.headers)[_MARK])]
            self.log.append(Produced(stream, record.offset, scope, is_poison))
            self.ends[partition] = record.offset + 1

    async def start(self) -> None:
        await self._client.start()

    async def stop(self) -> None:
        await self._client.stop()


@asynccontextmanager
async def producing(broker: Broker, topic: str, partitions: int) -> AsyncIterator[Producer]:
    """A producer to a new topic."""
    await broker.create_topic(topic, partitions)
    producer = Producer(broker, topic, partitions)
    await producer.start()
    try:
        yield producer
    finally:
        await producer.stop()
