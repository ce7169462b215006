"""Fixtures beside the Kafka consumer: a ledger in PostgreSQL, topics, a group."""

import asyncio
from collections.abc import AsyncIterator, Awaitable, Callable, Iterator
from contextlib import asynccontextmanager
from datetime import datetime
from itertools import chain
from typing import Any
from uuid import uuid4

import msgspec
import pytest
from aiokafka import AIOKafkaProducer
from aiokafka.admin import AIOKafkaAdminClient, NewPartitions
from aiokafka.admin.config_resource import ConfigResource, ConfigResourceType
from aiokafka.record.util import calc_crc32c as crc32c

from consumers.formats.knockon import read_events
from consumers.formats.reading import Reader
from consumers.kafka import KafkaConsumer, KafkaSettings
from consumers.kafka.position import Position
from engine.embedded.broker import Broker
from engine.errors import PositionLost
from engine.flow.ingestion.ingest import Rejected
from engine.model.event import Advance, Batch, Delivery, Received
from engine.store.database import Connection, Database

on_both = pytest.mark.parametrize("broker_fixture", ["broker", "kafka"], ids=["", "apache"])
"""Run a test with the session's broker, embedded by default, and with Apache Kafka."""

on_kafka = pytest.mark.parametrize("broker_fixture", ["kafka"], ids=[""])
"""Run a test with Apache Kafka only."""

NAME = "changes"
PATIENCE_SECONDS = 60


class Ledger:
    """Writes batches like ingest, and notifies waiting tests.

    `events` are (stream, position, note) and `rejections` (stream, position, payload, error), in
    writing order; `overtaken` counts the refused batches. `before` runs ahead of each write and may
    raise.
    """

    def __init__(self, database: Database) -> None:
        self._database = database
        self._written = asyncio.Condition()
        self.events: list[tuple[str, str, str | None]] = []
        self.rejections: list[tuple[str, str, bytes | None, str]] = []
        self.batches: list[Batch] = []
        self.overtaken = 0
        self.before: Callable[[Batch], Awaitable[None]] | None = None

    @classmethod
    async def on(cls, database: Database) -> "Ledger":
        async with database.connection() as connection:
            await connection.execute("""
                CREATE TABLE heard (n serial, stream text, position text, note text);
                CREATE TABLE refused
                    (n serial, stream text, position text, payload bytea, error text);
            """)
        return cls(database)

    async def ingest(self, batch: Batch, rejected: Rejected | None = None) -> None:
        if self.before is not None:
            await self.before(batch)
        async with self._database.transaction() as connection:
            for advance in batch.advances:
                if not await _moved(connection, advance):
                    self.overtaken += 1
                    raise PositionLost(advance.stream)
            for delivery, note in chain.from_iterable(map(_told, batch.received)):
                await connection.execute(
                    "INSERT INTO heard (stream, position, note) VALUES (%s, %s, %s)",
                    [delivery.stream, delivery.position, note],
                )
            for each in batch.rejections:
                await connection.execute(
                    "INSERT INTO refused (stream, position, payload, error)"
                    " VALUES (%s, %s, %s, %s)",
                    [each.stream, each.position, each.payload, each.error],
                )
            if rejected and batch.rejections:
                await rejected(batch.rejections)
        async with self._written:
            self.batches.append(batch)
            self._written.notify_all()

    async def positions(self) -> dict[str, str]:
        rows = await self._rows("SELECT stream, position FROM consumer_positions")
        return dict(rows)

    async def offsets(self) -> dict[str, int]:
        return {
            stream: Position.from_text(position).offset
            for stream, position in (await self.positions()).items()
        }

    async def move(self, stream: str, position: str) -> None:
        async with self._database.connection() as connection:
            await connection.execute(
                "UPDATE consumer_positions SET position = %s WHERE stream = %s", [position, stream]
            )

    async def until(self, events: int = 0, rejections: int = 0, batches: int = 0) -> None:
        """Return when the counts in the database are at least the given numbers."""

        async def enough() -> bool:
            self.events = await self._rows("SELECT stream, position, note FROM heard ORDER BY n")
            self.rejections = await self._rows(
                "SELECT stream, position, payload, error FROM refused ORDER BY n"
            )
            counts = (len(self.events), len(self.rejections), len(self.batches))
            return all(a >= b for a, b in zip(counts, (events, rejections, batches), strict=True))

        async with asyncio.timeout(PATIENCE_SECONDS), self._written:
            while not await enough():
                await self._written.wait()

    @property
    def notes(self) -> list[str | None]:
        return [note for _, _, note in self.events]

    async def _rows(self, query: str) -> list[Any]:
        async with self._database.connection() as connection:
            cursor = await connection.execute(query)  # type: ignore[arg-type]
            return [tuple(row.values()) for row in await cursor.fetchall()]


def _told(received: Received) -> Iterator[tuple[Delivery, str | None]]:
    """Each event with its note, because events with the same scope are merged."""
    first, *rest = received.deliveries
    yield first, received.event.note
    for each in rest:
        yield each, read_events(each.value, {}, None)[0].note


async def _moved(connection: Connection, advance: Advance) -> bool:
    if advance.before is None:
        statement = """INSERT INTO consumer_positions (org_id, consumer, stream, position)
            SELECT id, %(consumer)s, %(stream)s, %(after)s FROM orgs ON CONFLICT DO NOTHING"""
    else:
        statement = """UPDATE consumer_positions SET position = %(after)s
            WHERE stream = %(stream)s AND position = %(before)s"""
    cursor = await connection.execute(
        statement, {"consumer": NAME, **msgspec.structs.asdict(advance)}
    )
    return cursor.rowcount > 0


async def delete_topic(broker: Broker, name: str) -> None:
    admin = AIOKafkaAdminClient(bootstrap_servers=broker.bootstrap_servers)
    await admin.start()
    try:
        await admin.delete_topics([name])
    finally:
        await admin.close()


class Topic:
    def __init__(self, name: str, producer: AIOKafkaProducer) -> None:
        self.name = name
        self._producer = producer

    def stream(self, partition: int = 0) -> str:
        return f"kafka/{self.name}/{partition}"

    async def grow(self, broker: Broker, total: int) -> None:
        """Increase the number of partitions, and return when all accept messages."""
        admin = AIOKafkaAdminClient(bootstrap_servers=broker.bootstrap_servers)
        await admin.start()
        try:
            await admin.create_partitions({self.name: NewPartitions(total)})
        finally:
            await admin.close()
        cluster = self._producer.client.cluster
        async with asyncio.timeout(PATIENCE_SECONDS):
            while True:
                await self._producer.client.force_metadata_update()
                if len(cluster.partitions_for_topic(self.name)) == total:
                    return

    async def configure(self, broker: Broker, **settings: str) -> None:
        admin = AIOKafkaAdminClient(bootstrap_servers=broker.bootstrap_servers)
        await admin.start()
        try:
            resource = ConfigResource(ConfigResourceType.TOPIC, self.name, settings)
            await admin.alter_configs([resource])
        finally:
            await admin.close()

    async def send(self, *notes: str, partition: int = 0) -> None:
        """Produce an event for each note."""
        for note in notes:
            await self.send_bytes(
                msgspec.json.encode({"dataset": "flights", "note": note}), partition
            )

    async def send_at(self, moment: datetime, note: str) -> None:
        """Produce an event with this timestamp."""
        value = msgspec.json.encode({"dataset": "flights", "note": note})
        await self._producer.send_and_wait(
            self.name, value, partition=0, timestamp_ms=int(moment.timestamp() * 1000)
        )

    async def send_bytes(
        self, value: bytes | None, partition: int = 0, **headers: bytes | None
    ) -> None:
        await self._producer.send_and_wait(
            self.name, value, key=b"k", partition=partition, headers=list(headers.items())
        )

    async def send_nothing(self, partition: int = 0) -> None:
        """Produce a message with neither key nor value, bypassing the producer's check."""
        batch = self._producer.create_batch()
        batch.append(key=None, value=None, timestamp=None)
        await (await self._producer.send_batch(batch, self.name, partition=partition))

    async def send_with_bad_header(self, note: str, partition: int = 0) -> None:
        """Produce an event with a header name that is not UTF-8, bypassing the producer's check."""
        value = msgspec.json.encode({"dataset": "flights", "note": note})
        batch = self._producer.create_batch()
        batch.append(key=b"k", value=value, timestamp=None, headers=[("name", b"")])
        batch.close()
        raw = batch._build()
        raw[bytes(raw).index(b"name")] = 0xFF
        raw[17:21] = crc32c(bytes(raw[21:])).to_bytes(4, "big")  # checksum of the remaining bytes
        await (await self._producer.send_batch(batch, self.name, partition=partition))


@asynccontextmanager
async def topic_on(
    broker: Broker, partitions: int = 1, *, name: str | None = None
) -> AsyncIterator[Topic]:
    """Create a topic, under a new name by default, with a producer."""
    name = name or f"changes-{uuid4().hex[:8]}"
    await broker.create_topic(name, partitions)
    producer = AIOKafkaProducer(**broker.connection, max_request_size=20_000_000)
    await producer.start()
    try:
        yield Topic(name, producer)
    finally:
        await producer.stop()


def settings(broker: Broker, topic: str, **changes: Any) -> KafkaSettings:
    """Settings for tests: a group of the topic's own, and no delays.

    The embedded broker uses the session timeout as the time to wait for further members.
    """
    usual = {
        "bootstrap_servers": broker.bootstrap_servers,
        "name": f"group-of-{topic}",
        "readers": {topic: Reader(read_events)},
        "fetch_max_wait_ms": 10,
        "client": {"session_timeout_ms": 1000, "heartbeat_interval_ms": 100},
    }
    return KafkaSettings(**usual | changes)


@asynccontextmanager
async def running(consumer: KafkaConsumer) -> AsyncIterator[None]:
    """Run the consumer during the body, and stop it cleanly."""
    stop = asyncio.Event()
    task = asyncio.create_task(consumer.run(stop))
    try:
        yield
    finally:
        stop.set()
        async with asyncio.timeout(PATIENCE_SECONDS):
            await task
