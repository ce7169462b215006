"""Source events become durable, coalesced invalidations, beside a COPY of the same rows."""

from collections.abc import AsyncIterator, Callable
from datetime import date, timedelta

from engine.flow.ingestion.ingest import ingest
from engine.flow.shared.org_context import OrgContext
from engine.model.event import Advance, Batch, Delivery, Received, SourceEvent
from engine.store.database import Connection
from tests.benchmarks.figure import Figure, Peer, stopwatch
from tests.benchmarks.server import Server
from tests.benchmarks.stored import store
from tests.benchmarks.worlds import star

_EVENTS = 10_000
_SCOPES = 40
_TIMES = 5
_FLOOR = 0.7
"""Minimum rate as a share of the rate of COPY."""


async def figures(server: Server) -> AsyncIterator[Figure]:
    """Batches of 10,000 events of one source, with positions, over few scopes and over many."""
    world = star(10)
    name = world.datasets[0].name
    async with server.database() as database, database.connection() as conn:
        org = await store(conn, world)
        rates = [await _rate(conn, org, _batch(n, name, _few)) for n in range(_TIMES)]
        yield Figure(f"{_EVENTS:,} events over {_SCOPES} scopes taken in", rates, "/s")
    async with server.database() as database, database.connection() as conn:
        org = await store(conn, world)
        ours, copied = [], []
        for n in range(_TIMES):
            ours.append(await _rate(conn, org, _batch(n, name, _distinct)))
            copied.append(await _copied(conn))
        peer = Peer("COPY of the same rows", copied)
        floor = _FLOOR * sorted(copied)[_TIMES // 2]
        yield Figure(f"{_EVENTS:,} distinct scopes taken in", ours, "/s", floor, peer)


async def _rate(conn: Connection, org: OrgContext, batch: Batch) -> float:
    return _EVENTS / await stopwatch(ingest(conn, org, batch))


async def _copied(conn: Connection) -> float:
    """Rows per second of a COPY into the same table, after deleting the copied rows."""
    text = b"".join([part async for part in _parts(conn)])
    await conn.execute("TRUNCATE data_invalidations")
    rate = _EVENTS / await stopwatch(_copy(conn, text))
    await conn.execute("TRUNCATE data_invalidations")
    return rate


async def _parts(conn: Connection) -> AsyncIterator[bytes]:
    async with conn.cursor() as cursor, cursor.copy("COPY data_invalidations TO STDOUT") as copy:
        async for part in copy:
            yield bytes(part)


async def _copy(conn: Connection, text: bytes) -> None:
    async with conn.cursor() as cursor, cursor.copy("COPY data_invalidations FROM STDIN") as copy:
        await copy.write(text)


def _batch(n: int, dataset: str, scope: Callable[[str, int], SourceEvent]) -> Batch:
    events = (scope(dataset, i) for i in range(_EVENTS))
    received = (Received.one(each, Delivery("bench/0", str(i))) for i, each in enumerate(events))
    return Batch(
        consumer="bench",
        received=tuple(received),
        advances=(Advance(stream="bench/0", before=str(n - 1) if n else None, after=str(n)),),
    )


def _few(dataset: str, i: int) -> SourceEvent:
    """Forty scopes: twenty days of two columns."""
    day, columns = f"2013-02-{1 + i % 20:02}", (("a",), ("b",))[i // 20 % 2]
    return SourceEvent(dataset=dataset, partitions=(day,), columns=columns, id=f"reload-{i}")


def _distinct(dataset: str, i: int) -> SourceEvent:
    """Every other day, so that no two scopes merge."""
    day = date(1990, 1, 1) + timedelta(days=2 * i)
    return SourceEvent(dataset=dataset, partitions=(day.isoformat(),), id=f"reload-{i}")
