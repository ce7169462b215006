"""Messages of a Kafka topic become durable invalidations, beside a loop of bare reads."""

import asyncio
import os
from collections.abc import AsyncIterator, Iterable, Mapping
from contextlib import asynccontextmanager
from pathlib import Path
from statistics import median
from tempfile import TemporaryDirectory
from time import perf_counter

import psutil
from aiokafka import AIOKafkaConsumer, AIOKafkaProducer, TopicPartition

from consumers.kafka import KafkaConsumer, KafkaSettings
from engine.embedded.broker import Broker
from engine.errors import ServiceUnavailable
from engine.flow.ingestion.ingest import Rejected, ingest
from engine.flow.shared.org_context import OrgContext
from engine.model.event import Batch
from engine.store.database import Database
from engine.store.rows.sources import StoredPosition
from engine.store.run import fetch
from tests.benchmarks.figure import Figure, Peer
from tests.benchmarks.messages import Kind, kinds
from tests.benchmarks.server import Server
from tests.benchmarks.stored import store
from tests.benchmarks.worlds import star
from tests.support.servers import apache_kafka

_MESSAGES = 200_000
_MANY = 1_000_000
_GROWTH = 1.2
_PARTITIONS = 4
_TIMES = 3
_FLOOR = 0.6
"""Minimum rate as a share of the rate of a loop that only reads."""


class Sink:
    """Writes batches like `knockon consume`, and signals the expected number of messages."""

    def __init__(self, database: Database, org: OrgContext) -> None:
        self._database = database
        self._org = org
        self.name = ""
        self.taken = 0
        self.changed = asyncio.Event()

    async def ingest(self, batch: Batch, rejected: Rejected | None = None) -> None:
        async with self._database.connection() as conn:
            written = await ingest(conn, self._org, batch, rejected)
        assert not written.rejections, written.rejections[0]
        self.taken += sum(each.count for each in batch.received)
        self.changed.set()

    async def positions(self) -> Mapping[str, str]:
        async with self._database.connection() as conn:
            rows = await fetch(
                conn,
                "positions.stored",
                StoredPosition,
                org_id=self._org.id,
                consumer=self.name,
            )
        return {row.stream: row.position for row in rows}

    async def until(self, count: int) -> None:
        while self.taken < count:
            self.changed.clear()
            await self.changed.wait()


async def figures(server: Server) -> AsyncIterator[Figure]:
    """Messages over forty scopes of one source: the rates, and the memory held after a million."""
    with TemporaryDirectory(prefix="knockon-kafka-") as directory:
        try:
            with apache_kafka(Path(directory)) as broker:
                async for figure in _figures(server, broker):
                    yield figure
        except ServiceUnavailable as reason:
            print(f"streaming is not measured: {reason}")


async def _figures(server: Server, broker: Broker) -> AsyncIterator[Figure]:
    world = star(10)
    dataset = world.datasets[0].name
    async with server.database() as database:
        async with database.connection() as conn:
            org = await store(conn, world)
        knockon, debezium = kinds(dataset)
        for kind in (knockon, debezium):
            yield await _rate(broker, Sink(database, org), kind, dataset)
        yield await _memory(broker, Sink(database, org), knockon, dataset)


async def _rate(broker: Broker, sink: Sink, kind: Kind, dataset: str) -> Figure:
    """Messages ingested per second, beside bare reads, alternating."""
    topic = await _filled(broker, kind, dataset, _MESSAGES)
    ours, bare = [], []
    for n in range(_TIMES):
        bare.append(await _read_only(broker, topic, kind))
        ours.append(await _taken_in(broker, sink, topic, kind, n))
    name = f"{kind.name}: {_MESSAGES:,} Kafka messages taken in"
    floor = _FLOOR * median(bare)
    return Figure(name, ours, "/s", floor, Peer("only read and decoded", bare))


async def _memory(broker: Broker, sink: Sink, kind: Kind, dataset: str) -> Figure:
    """Resident memory after all messages, and after the first tenth."""
    topic = await _filled(broker, kind, dataset, _MANY)
    async with _consuming(broker, sink, topic, kind, "memory"):
        await sink.until(_MANY // 10)
        early = _resident()
        await sink.until(_MANY)
        late = _resident()
    peer = Peer(f"after {_MANY // 10:,}", [early])
    return Figure(f"memory after {_MANY:,} messages", [late], "MB", _GROWTH * early, peer)


async def _filled(broker: Broker, kind: Kind, dataset: str, count: int) -> str:
    topic = f"{kind.name.split()[0]}-{count}"
    await broker.create_topic(topic, _PARTITIONS)
    producer = AIOKafkaProducer(**broker.connection, max_batch_size=500_000)
    async with producer:
        for partition in range(_PARTITIONS):
            numbers = iter(range(partition, count, _PARTITIONS))
            values = (kind.message(dataset, number) for number in numbers)
            await _send(producer, topic, partition, values)
    return topic


async def _send(
    producer: AIOKafkaProducer, topic: str, partition: int, values: Iterable[bytes]
) -> None:
    batch = producer.create_batch()
    for value in values:
        if batch.append(key=None, value=value, timestamp=None) is None:
            await (await producer.send_batch(batch, topic, partition=partition))
            batch = producer.create_batch()
            batch.append(key=None, value=value, timestamp=None)
    await (await producer.send_batch(batch, topic, partition=partition))


async def _read_only(broker: Broker, topic: str, kind: Kind) -> float:
    """Messages per second of a minimal loop: fetch, decode, discard."""
    client = AIOKafkaConsumer(**broker.connection, auto_offset_reset="none")
    partitions = [TopicPartition(topic, n) for n in range(_PARTITIONS)]
    async with client:
        client.assign(partitions)
        for each in partitions:
            client.seek(each, 0)
        first = await _decode_some(client, kind)
        begun, read = perf_counter(), first
        while read < _MESSAGES:
            read += await _decode_some(client, kind)
        return (read - first) / (perf_counter() - begun)


async def _decode_some(client: AIOKafkaConsumer, kind: Kind) -> int:
    fetched = await client.getmany(timeout_ms=500)
    for records in fetched.values():
        for record in records:
            kind.decode(record.value)
    return sum(map(len, fetched.values()))


async def _taken_in(broker: Broker, sink: Sink, topic: str, kind: Kind, n: int) -> float:
    """Messages per second from the first batch on, as in the other loops: joining is excluded."""
    sink.taken = 0
    async with _consuming(broker, sink, topic, kind, f"rate-{kind.name}-{n}"):
        await sink.until(1)
        begun, before = perf_counter(), sink.taken
        await sink.until(_MESSAGES)
        return (_MESSAGES - before) / (perf_counter() - begun)


@asynccontextmanager
async def _consuming(
    broker: Broker, sink: Sink, topic: str, kind: Kind, name: str
) -> AsyncIterator[None]:
    sink.name = name
    settings = KafkaSettings(
        bootstrap_servers=broker.bootstrap_servers,
        name=name,
        readers={topic: kind.reader},
    )
    stop = asyncio.Event()
    task = asyncio.create_task(KafkaConsumer(settings, sink.ingest, sink.positions).run(stop))
    try:
        yield
    finally:
        stop.set()
        await task


def _resident() -> float:
    return psutil.Process(os.getpid()).memory_info().rss / 1e6
