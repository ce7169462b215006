"""Produced messages: the topic's log, read back, with the expected effect of every message."""

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
    """A message in the log at its offset."""

    stream: str
    offset: int
    scope: Scope | None
    is_poison: bool


class Producer:
    """Sender of messages; `log` has the outcome.

    Messages in flight during a kill of the broker are sent again, so only the log shows the number
    of copies.
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
        """Return after the broker has accepted every message, through any number of outages."""
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
        """Read the topic to its end, into `log` and `ends`."""
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
