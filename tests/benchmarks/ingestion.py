"""Source events become durable, coalesced facts."""

from collections.abc import AsyncIterator

from engine.flow.ingest import ingest
from engine.model.event import Advance, Batch, Delivery, Received, SourceEvent
from tests.benchmarks.figure import Figure, stopwatch
from tests.benchmarks.server import Server
from tests.benchmarks.stored import store
from tests.benchmarks.worlds import World, star

_EVENTS = 10_000
_SCOPES = 40
_TIMES = 5


async def figures(server: Server) -> AsyncIterator[Figure]:
    """Batches of 10,000 events over forty partitions of one source, with its position."""
    world = star(10)
    async with server.database() as database, database.connection() as conn:
        scene = await store(conn, world)
        batches = [_batch(world, n) for n in range(_TIMES)]
        seconds = [await stopwatch(ingest(conn, scene, batch)) for batch in batches]
        rows = await (await conn.execute("SELECT sum(events) FROM data_invalidations")).fetchone()
        assert rows == {"sum": _EVENTS * _TIMES}, rows
    rates = [_EVENTS / each for each in seconds]
    yield Figure(f"{_EVENTS:,} events over {_SCOPES} scopes taken in", rates, "/s")


def _batch(world: World, n: int) -> Batch:
    before = str(n - 1) if n else None
    received = tuple(
        Received.one(
            SourceEvent(
                dataset=world.datasets[0].name,
                partitions=(f"2013-02-{1 + i % 20:02}",),
                columns=(("a",), ("b",))[i // 20 % 2],
                id=f"{n}-{i}",
            ),
            Delivery("bench/0", str(i)),
        )
        for i in range(_EVENTS)
    )
    return Batch(
        consumer="bench",
        received=received,
        advances=(Advance(stream="bench/0", before=before, after=str(n)),),
    )
