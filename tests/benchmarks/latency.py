"""From a source's commit to a claimable task, beside a bare NOTIFY."""

import asyncio
from collections.abc import AsyncIterator, Awaitable, Callable, Mapping
from contextlib import asynccontextmanager
from statistics import quantiles
from time import perf_counter

from consumers.postgres.attach import attach
from consumers.postgres.listener import PostgresConsumer
from consumers.postgres.triggers import Tenant
from engine.flow.execution.claim import Claimant, claim
from engine.flow.execution.complete import complete_all
from engine.flow.ingestion.ingest import ingest
from engine.flow.shared.org_context import OrgContext
from engine.loops.engine import Engine
from engine.model.event import Batch
from engine.model.task import Completion
from engine.settings import Settings
from engine.store.database import Connection, Database
from engine.store.notifications import TASKS
from tests.benchmarks.figure import Figure, Peer
from tests.benchmarks.server import Server
from tests.benchmarks.stored import store
from tests.benchmarks.worlds import star

_ROUNDS = 5
_SAMPLES = 100
_PATIENCE_SECONDS = 10


async def figures(server: Server) -> AsyncIterator[Figure]:
    """Trigger, consumer, engine and notifications as in `knockon up`, in rounds of 100 commits."""
    knockon, bare = [], []
    async with (
        server.database() as database,
        _running(database) as org,
        database.connection() as conn,
        _listening(database, TASKS) as listener,
    ):
        await _commits(conn, org, listener, 10)
        for _ in range(_ROUNDS):
            knockon.append(_percentiles(await _commits(conn, org, listener, _SAMPLES)))
            bare.append(_percentiles(await _notifies(database, _SAMPLES)))
    for name, at, target in (("p50", 49, 8), ("p99", 98, 30)):
        peer = Peer("NOTIFY", [each[at] for each in bare])
        samples = [each[at] for each in knockon]
        yield Figure(f"commit to claimable: {name}", samples, "ms", target, peer)


@asynccontextmanager
async def _running(database: Database) -> AsyncIterator[OrgContext]:
    """A source table with two daily jobs downstream, its consumer, and an engine."""
    world = star(3)
    async with database.connection() as conn:
        org = await store(conn, world)
        tenant = Tenant(str(org.id), "bench")
        await conn.execute("CREATE TABLE source (dt date, value int)")
        await attach(conn, tenant, "source", world.datasets[0].name, {"dt": {"time": "day"}})
    consumer = PostgresConsumer(
        database.url, tenant, _ingesting(database, org), _positions_of(database)
    )
    stop = asyncio.Event()
    async with asyncio.TaskGroup() as group:
        group.create_task(consumer.run(stop))
        group.create_task(Engine(database, org, Settings()).run(stop))
        try:
            yield org
        finally:
            stop.set()


def _ingesting(database: Database, org: OrgContext) -> Callable[[Batch], Awaitable[None]]:
    async def ingest_one(batch: Batch) -> None:
        async with database.connection() as conn:
            await ingest(conn, org, batch)

    return ingest_one


def _positions_of(database: Database) -> Callable[[], Awaitable[Mapping[str, str]]]:
    async def positions() -> Mapping[str, str]:
        async with database.connection() as conn:
            cursor = await conn.execute("SELECT stream, position FROM consumer_positions")
            return {row["stream"]: row["position"] for row in await cursor.fetchall()}

    return positions


@asynccontextmanager
async def _listening(database: Database, channel: str) -> AsyncIterator[Connection]:
    connection = await database.listen_connection()
    async with connection:
        await connection.execute(f"LISTEN {channel}".encode())
        yield connection


async def _commits(
    conn: Connection, org: OrgContext, listener: Connection, times: int
) -> list[float]:
    """Milliseconds from each commit to the notification of its tasks."""
    found = []
    for n in range(times):
        async with conn.transaction():
            day = f"2013-02-{1 + n % 28:02}"
            await conn.execute("INSERT INTO source VALUES (%s::date, 1)", [day])
            start = perf_counter()
        await _notified(listener)
        found.append(1000 * (perf_counter() - start))
        await _run_all(conn, org)
    return found


async def _run_all(conn: Connection, org: OrgContext) -> None:
    leases = await claim(conn, org, Claimant("bench"), 10)
    assert len(leases) == 2, leases
    await complete_all(conn, org, [Completion(lease, ()) for lease in leases])


async def _notifies(database: Database, times: int) -> list[float]:
    found = []
    async with _listening(database, "bare") as listener, database.connection() as conn:
        for _ in range(times):
            async with conn.transaction():
                await conn.execute("NOTIFY bare")
                start = perf_counter()
            await _notified(listener)
            found.append(1000 * (perf_counter() - start))
    return found


async def _notified(listener: Connection) -> None:
    notes = [note async for note in listener.notifies(timeout=_PATIENCE_SECONDS, stop_after=1)]
    assert notes, f"no notification within {_PATIENCE_SECONDS} seconds"


def _percentiles(samples: list[float]) -> list[float]:
    return quantiles(samples, n=100, method="inclusive")
