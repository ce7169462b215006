"""A source database beside Knockon's own, and a ledger that ingests into the latter."""

import asyncio
from collections.abc import AsyncIterator, Awaitable, Callable
from contextlib import AbstractAsyncContextManager, asynccontextmanager
from typing import Any
from uuid import UUID

import pytest
from psycopg import AsyncConnection
from psycopg.rows import namedtuple_row

from consumers.postgres.attach import attach, detach
from consumers.postgres.listener import PostgresConsumer
from consumers.postgres.triggers import Tenant
from engine.errors import PositionLost
from engine.model.event import Batch
from engine.store.database import Database
from engine.store.rows.sources import StoredPosition
from engine.store.run import execute, fetch

CONSUMER = "postgres"
TENANT = Tenant("7b0f2b54-0000-4000-8000-000000000001", CONSUMER)
OTHER = Tenant("7b0f2b54-0000-4000-8000-000000000002", "other")
PATIENCE_SECONDS = 60

Connect = Callable[[], Awaitable[AsyncConnection[Any]]]


class Source:
    """A source database, and the change log of its triggers."""

    def __init__(self, url: str, connection: AsyncConnection[Any]) -> None:
        self.url = url
        self.connection = connection

    async def run(self, *statements: str) -> None:
        for statement in statements:
            await self.connection.execute(statement)  # type: ignore[arg-type]

    async def rows(self, query: str) -> list[Any]:
        return await (await self.connection.execute(query)).fetchall()  # type: ignore[arg-type]

    async def attach(self, table: str, partitioning: dict[str, Any], **more: Any) -> None:
        tenant = more.pop("tenant", TENANT)
        await attach(self.connection, tenant, table, more.pop("dataset", "d"), partitioning, **more)

    async def detach(self, table: str, dataset: str, tenant: Tenant = TENANT) -> None:
        await detach(self.connection, tenant, table, dataset)

    async def logged(self, *statements: str) -> list[tuple[str, Any, Any, int | None]]:
        """(kind, partitions, columns, rows) in the change log after the statements."""
        await self.run("DELETE FROM knockon_source.changes", *statements)
        found = await self.rows(
            "SELECT kind, partitions, columns, rows FROM knockon_source.changes ORDER BY id"
        )
        return [tuple(row) for row in found]


class Ledger:
    """Ingests as Knockon does, events and position in one transaction.

    `before` and `after` run around each transaction and may raise.
    """

    def __init__(self, database: Database, org_id: UUID) -> None:
        self._database = database
        self._org_id = org_id
        self._written = asyncio.Condition()
        self.before: Callable[[Batch], Awaitable[None]] | None = None
        self.after: Callable[[Batch], Awaitable[None]] | None = None
        self.batches: list[Batch] = []

    async def ingest(self, batch: Batch) -> None:
        if self.before:
            await self.before(batch)
        async with self._database.transaction() as connection:
            for move in batch.advances:
                name = "positions.start" if move.before is None else "positions.advance"
                where = {"org_id": self._org_id, "consumer": batch.consumer}
                stands = {"stream": move.stream, "before": move.before, "after": move.after}
                if not await execute(connection, name, **where, **stands):
                    raise PositionLost(move.stream)
            for received in batch.received:
                await connection.execute(
                    "INSERT INTO taken (id, dataset) VALUES (%s, %s)",
                    [received.event.id, received.event.dataset],
                )
        async with self._written:
            self.batches.append(batch)
            self._written.notify_all()
        if self.after:
            await self.after(batch)

    async def positions(self) -> dict[str, str]:
        async with self._database.connection() as connection:
            where = {"org_id": self._org_id, "consumer": CONSUMER}
            rows = await fetch(connection, "positions.stored", StoredPosition, **where)
        return {row.stream: row.position for row in rows}

    async def until(self, events: int, rejections: int = 0) -> list[str]:
        """Wait for at least this many events and rejections; returns the log ids of the events."""

        def enough() -> bool:
            rejected = sum(len(batch.rejections) for batch in self.batches)
            return rejected >= rejections

        async with asyncio.timeout(PATIENCE_SECONDS), self._written:
            while len(taken := await self._taken()) < events or not enough():
                await self._written.wait()
        return taken

    async def _taken(self) -> list[str]:
        async with self._database.connection() as connection:
            rows = await (await connection.execute("SELECT id FROM taken ORDER BY n")).fetchall()
        return [row["id"].rpartition(":")[2] for row in rows]


@pytest.fixture
async def source(empty_database_url: str) -> AsyncIterator[Source]:
    async with await AsyncConnection.connect(
        empty_database_url, autocommit=True, row_factory=namedtuple_row
    ) as connection:
        yield Source(empty_database_url, connection)


@pytest.fixture
async def connect(empty_database_url: str) -> AsyncIterator[Connect]:
    """Further connections to the source, not in autocommit mode."""
    opened: list[AsyncConnection[Any]] = []

    async def connect() -> AsyncConnection[Any]:
        opened.append(await AsyncConnection.connect(empty_database_url))
        return opened[-1]

    yield connect
    for connection in opened:
        await connection.close()


@pytest.fixture
async def ledger(database: Database) -> Ledger:
    async with database.connection() as connection:
        await connection.execute("CREATE TABLE taken (n serial, id text, dataset text)")
        row = await (await connection.execute("SELECT id FROM orgs")).fetchone()
    assert row is not None
    return Ledger(database, row["id"])


@pytest.fixture
def running(source: Source, ledger: Ledger) -> Callable[..., AbstractAsyncContextManager[None]]:
    """Run a consumer of the source; by default only notifications trigger a read."""

    @asynccontextmanager
    async def running(**options: Any) -> AsyncIterator[None]:
        usual: dict[str, Any] = {"source_url": source.url, "poll_seconds": 3600.0}
        consumer = PostgresConsumer(
            tenant=TENANT,
            ingest=ledger.ingest,
            positions=ledger.positions,
            **usual | options,
        )
        stop = asyncio.Event()
        task = asyncio.create_task(consumer.run(stop))
        try:
            yield
        finally:
            stop.set()
            async with asyncio.timeout(PATIENCE_SECONDS):
                await task

    return running
