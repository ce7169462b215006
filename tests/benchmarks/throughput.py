"""Tasks claimed and completed in batches, with dependents resolved, beside pgqueuer."""

import sys
from asyncio import StreamReader, StreamWriter, create_subprocess_exec
from asyncio.subprocess import PIPE
from collections.abc import AsyncIterator
from contextlib import AsyncExitStack, asynccontextmanager
from time import perf_counter

from consumers.manual import invalidate
from engine.flow.planning.plan import plan
from engine.flow.shared.org_context import OrgContext
from engine.model.event import SourceEvent
from engine.store.database import Connection
from tests.benchmarks.figure import Figure, Peer
from tests.benchmarks.pgqueuer_peer import drained_per_second as peer_per_second
from tests.benchmarks.server import Server
from tests.benchmarks.stored import store
from tests.benchmarks.worlds import World, chain, star

TASKS = 10_000
_ROUNDS = 3
_BATCHES = (100, 500)
_WORKERS = (1, 2)
_SHAPES: dict[str, tuple[World, str]] = {
    "10,000 tasks": (star(101), "2013-01-01..2013-04-10"),
    "5,000 with another behind each": (chain(3), "2000-01-01..2013-09-08"),
}


async def figures(server: Server) -> AsyncIterator[Figure]:
    """Each task with the version of its only input and one output partition.

    One worker must be faster than the peer, and two must reach twice the rate of the peer.
    """
    for batch in _BATCHES:
        async with server.database() as database:
            rates = [await peer_per_second(database.url, TASKS, batch) for _ in range(_ROUNDS)]
        peer = Peer("pgqueuer", rates)
        for name, (world, days) in _SHAPES.items():
            async with server.database() as database, database.connection() as conn:
                org = await store(conn, world)
                for workers in _WORKERS:
                    rates = []
                    for _ in range(_ROUNDS):
                        await queue(conn, org, world, days)
                        rates.append(await drained_per_second(database.url, batch, workers))
                    by = f"{workers} worker{'s' * (workers > 1)}"
                    target = workers * max(peer.samples)
                    yield Figure(f"{name}, {by}, by {batch}", rates, "/s", target, peer)


async def queue(conn: Connection, org: OrgContext, world: World, days: str) -> None:
    changed = SourceEvent(dataset=world.datasets[0].name, partitions=(days,))
    await invalidate(conn, org, changed)
    planned = await plan(conn, org)
    assert planned is not None
    assert planned.tasks == TASKS, planned
    await conn.execute("VACUUM ANALYZE")  # as autovacuum does outside of tests


async def drained_per_second(url: str, batch: int, workers: int) -> float:
    async with AsyncExitStack() as stack:
        pipes = [await stack.enter_async_context(_worker(url, batch)) for _ in range(workers)]
        start = perf_counter()
        for _, stdin in pipes:
            stdin.write(b"start\n")
        completed = [int(await stdout.readline()) for stdout, _ in pipes]
        seconds = perf_counter() - start
    assert sum(completed) == TASKS, completed
    return TASKS / seconds


@asynccontextmanager
async def _worker(url: str, batch: int) -> AsyncIterator[tuple[StreamReader, StreamWriter]]:
    """Start a worker process, and yield its output and input once it is connected."""
    command = [sys.executable, "-m", "tests.benchmarks.drain", url, str(batch)]
    process = await create_subprocess_exec(*command, stdin=PIPE, stdout=PIPE)
    assert process.stdout is not None
    assert process.stdin is not None
    assert await process.stdout.readline() == b"ready\n"
    yield process.stdout, process.stdin
    assert await process.wait() == 0
