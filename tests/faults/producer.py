"""A producer whose log is the topic read back, with the expected effect of every message."""

import asyncio
from collections.abc import AsyncIterator, Iterable, Sequence
from contextlib import asynccontextmanager
from typing import NamedTuple

from aiokafka import AIOKafkaConsumer, AIOKafkaProducer, TopicPartition

from engine.embedded.broker import Broker
from tests.faults.workload import Message, Scope

_NUMBER_HEADER = "n"
_MAX_BYTES = 20_000_000


class ProducedMessage(NamedTuple):
    """A message in the log at its offset."""

    stream: str
    offset: int
    scope: Scope | None
    is_poison: bool


class Producer:
    """Sender of messages; `log` holds the messages in the topic.

    Messages in flight while the broker is killed are sent again, so only the topic shows the number
    of copies.
    """

    def __init__(self, broker: Broker, topic: str, partitions: int) -> None:
        self.topic = topic
        self.log: list[ProducedMessage] = []
        self.ends = {TopicPartition(topic, n): 0 for n in range(partitions)}
        self._broker = broker
        self._sent: list[tuple[Scope | None, bool]] = []
        self._client = AIOKafkaProducer(
            **broker.connection, acks="all", max_request_size=_MAX_BYTES, linger_ms=2
        )

    async def send(self, messages: Sequence[Message]) -> None:
        """Return after the broker has accepted every message, through any number of outages."""
        first = len(self._sent)
        self._sent += [(message.scope, message.is_poison) for message in messages]
        await self._send(list(enumerate(messages, first)))

    async def _send(self, numbered: list[tuple[int, Message]]) -> None:
        while numbered:
            sending = [
                await self._client.send(
                    self.topic,
                    message.value,
                    key=message.key,
                    headers=[(_NUMBER_HEADER, str(number).encode())],
                )
                for number, message in numbered
            ]
            outcomes = await asyncio.gather(*sending, return_exceptions=True)
            pairs = zip(numbered, outcomes, strict=True)
            numbered = [pair for pair, outcome in pairs if isinstance(outcome, BaseException)]

    async def read_back(self) -> None:
        """Read the topic to its end, into `log` and `ends`."""
        async with AIOKafkaConsumer(
            **self._broker.connection,
            max_partition_fetch_bytes=_MAX_BYTES,
            auto_offset_reset="none",
        ) as reader:
            reader.assign(list(self.ends))
            for partition, offset in self.ends.items():
                reader.seek(partition, offset)
            ends = await reader.end_offsets(list(self.ends))
            while any(self.ends[partition] < end for partition, end in ends.items()):
                for partition, records in (await reader.getmany(timeout_ms=500)).items():
                    self._append(partition, records)

    def _append(self, partition: TopicPartition, records: Iterable) -> None:
        stream = f"kafka/{partition.topic}/{partition.partition}"
        for record in records:
            scope, is_poison = self._sent[int(dict(record.headers)[_NUMBER_HEADER])]
            self.log.append(ProducedMessage(stream, record.offset, scope, is_poison))
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
