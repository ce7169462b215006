"""Tasks claimed and completed in batches, with dependents resolved, beside pgqueuer."""

from collections.abc import AsyncIterator
from time import perf_counter

from consumers.manual import invalidate
from engine.flow.execution.claim import Claimant, claim
from engine.flow.execution.complete import complete_all
from engine.flow.planning.plan import plan
from engine.flow.shared.org_context import OrgContext
from engine.model.event import SourceEvent
from engine.model.task import Completion, Lease, Output
from engine.store.database import Connection
from tests.benchmarks.figure import Figure, Peer
from tests.benchmarks.pgqueuer_peer import drained_per_second
from tests.benchmarks.server import Server
from tests.benchmarks.stored import store
from tests.benchmarks.worlds import World, chain, star

_ROUNDS = 3
_BATCHES = (100, 500)
_SHAPES: dict[str, tuple[World, str]] = {
    "10,000 tasks": (star(101), "2013-01-01..2013-04-10"),
    "5,000 with another behind each": (chain(3), "2000-01-01..2013-09-08"),
}


async def figures(server: Server) -> AsyncIterator[Figure]:
    """Each task with the version of its only input and one output partition, by one worker."""
    for batch in _BATCHES:
        async with server.database() as database:
            rates = [await drained_per_second(database.url, 10_000, batch) for _ in range(_ROUNDS)]
        peer = Peer("pgqueuer", rates)
        for name, (world, days) in _SHAPES.items():
            async with server.database() as database, database.connection() as conn:
                org = await store(conn, world)
                rates = [await _per_second(conn, org, world, days, batch) for _ in range(_ROUNDS)]
            yield Figure(f"{name}, by {batch}", rates, "/s", _twice(peer), peer)


def _twice(peer: Peer) -> float:
    return 2 * max(peer.samples)


async def _per_second(
    conn: Connection, org: OrgContext, world: World, days: str, batch: int
) -> float:
    changed = SourceEvent(dataset=world.datasets[0].name, partitions=(days,))
    await invalidate(conn, org, changed)
    planned = await plan(conn, org)
    assert planned is not None
    await conn.execute("VACUUM ANALYZE")  # as autovacuum does outside of tests
    done, start = 0, perf_counter()
    while leases := await claim(conn, org, Claimant("bench"), batch):
        completed = await complete_all(conn, org, [_completion(lease) for lease in leases])
        done += len(completed)
    seconds = perf_counter() - start
    assert done == planned.tasks == 10_000, (done, planned)
    return done / seconds


def _completion(lease: Lease) -> Completion:
    output = Output(lease.outputs[0].name, lease.partitions[0], fingerprint=str(lease.token))
    return Completion(lease, (output,))
