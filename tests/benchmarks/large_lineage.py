"""A lineage of 100,000 datasets: load, memory and planning, beside a bare graph."""

import sys
from asyncio import create_subprocess_exec
from asyncio.subprocess import PIPE
from collections.abc import AsyncIterator

import msgspec
import networkx as nx

from engine.lineage.graph import Lineage
from engine.model.dataset import Dataset
from tests.benchmarks.figure import Figure, Peer, timed
from tests.benchmarks.planning import measure, pure_seconds
from tests.benchmarks.server import Server
from tests.benchmarks.stored import store
from tests.benchmarks.worlds import World, layered

_PROCESSES = 3
_TIMES = 51
_LARGE_DAYS = ["2013-02-01", "2013-02-02", "2013-02-03"]


async def figures(server: Server) -> AsyncIterator[Figure]:
    """100,000 datasets, 300,000 edges and 1,000,000 column edges."""
    world = layered(100_000, 3, 1_000_000)
    whole, tenth = _hundred(world, layered(10_000, 3, 100_000))
    async with server.database() as database, database.connection() as conn:
        org = await store(conn, world)
        seconds, megabytes = await _in_processes("knockon", database.url)
        bare_seconds, bare_megabytes = await _in_processes("networkx", database.url)
        peer = "networkx, graph only"
        yield Figure("100k datasets: read", seconds, "s", 5, Peer(peer, bare_seconds))
        yield Figure("100k datasets: kept", megabytes, "MB", 300, Peer(peer, bare_megabytes))
        yield Figure("about 100 hit: planned", whole, "ms", 5, Peer("a tenth", tenth))
        lineage = await org.lineage(conn)
        dataset, hit = _with_readers(lineage, world, 50_000)
        found = await measure(conn, org, dataset, _LARGE_DAYS)
        assert found.tasks == hit, (found.tasks, hit)
        yield Figure(f"{hit:,} hit: planned", found.pure, "s", 1, _bfs(lineage, dataset))
        yield Figure(f"{hit:,} hit: emitted", found.emitted, "s", 5, Peer("COPY", found.copied))


def _hundred(*worlds: World) -> list[list[float]]:
    """Milliseconds to plan a change with about a hundred affected jobs.

    The worlds alternate, so that other load on the machine affects each alike.
    """
    lineages = [world.lineage() for world in worlds]
    pairs = zip(lineages, worlds, strict=True)
    hits = [(lineage, _with_readers(lineage, world, 100)[0]) for lineage, world in pairs]
    rounds = [[pure_seconds(*hit, "2013-02-13") * 1000 for hit in hits] for _ in range(_TIMES)]
    return [list(samples) for samples in zip(*rounds, strict=True)]


def _with_readers(lineage: Lineage, world: World, count: int) -> tuple[Dataset, int]:
    """A late dataset with at least so many affected jobs, including its own, and their number."""
    graph = lineage.graph()
    for n in range(len(world.jobs) - count, 0, -max(1, count // 100)):
        hit = 1 + len(nx.descendants(graph, world.jobs[n].id))
        if hit >= count:
            return world.datasets[n], hit
    raise AssertionError(f"nothing hits {count} jobs")


def _bfs(lineage: Lineage, dataset: Dataset) -> Peer:
    graph, job = lineage.graph(), lineage.producer(dataset.id).id
    found = timed(lambda: nx.descendants(graph, job), 5)
    return Peer("networkx, visited", [each / 1000 for each in found])


async def _in_processes(what: str, url: str) -> tuple[list[float], list[float]]:
    """Seconds and megabytes of a load in each of several fresh processes."""
    told = [await _in_process(what, url) for _ in range(_PROCESSES)]
    return [seconds for seconds, _ in told], [megabytes for _, megabytes in told]


async def _in_process(what: str, url: str) -> tuple[float, float]:
    command = [sys.executable, "-m", "tests.benchmarks.loading", what, url]
    process = await create_subprocess_exec(*command, stdout=PIPE)
    out, _ = await process.communicate()
    assert process.returncode == 0, process.returncode
    return msgspec.json.decode(out, type=tuple[float, float])
