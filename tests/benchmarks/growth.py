"""Daily operations on the last day of a year, compared with the first: interleaved runs.

``GROWTH`` is the size of the year: 1 is 2 million partitions, 3 million tasks and a million
invalidations.
"""

from __future__ import annotations

import os
from collections import defaultdict
from collections.abc import AsyncIterator, Awaitable, Callable
from pathlib import Path
from statistics import median
from time import perf_counter
from typing import Any

from engine.flow.execution.claim import Claimant, claim
from engine.flow.execution.complete import complete
from engine.flow.ingestion.ingest import ingest
from engine.flow.planning.plan import plan
from engine.flow.retention.archive import archive
from engine.model.event import Batch, Delivery, Received, SourceEvent
from engine.model.task import Completion, Output
from engine.service.ids import task_id
from engine.service.queries.dead_letters import dead_letters
from engine.service.queries.explain_partition import explain_partition
from engine.service.queries.explain_task import explain_task
from engine.service.queries.invalidations import invalidations
from engine.service.queries.plans import plans
from engine.service.queries.progress import progress
from engine.service.queries.status import status
from engine.service.queries.tasks import tasks
from engine.store.database import Database
from tests.benchmarks.figure import Figure
from tests.benchmarks.server import Server
from tests.support.worlds import World, job, source

_HOURS = 8_334
_PARTITIONING = {
    "h": {"time": "hour", "start": "2026-01-01T00", "end": "2027-01-01T00"},
    "k": {"dynamic": True},
}
_KEY = "h=2026-01-01T05/k=k1"
_TIMES = 7
_MOST = 2.0


async def figures(server: Server) -> AsyncIterator[Figure]:
    size = float(os.environ.get("GROWTH", "0.1"))
    async with server.database() as empty, server.database() as year:
        worlds = {"empty": await _deployed(empty), "year": await _deployed(year)}
        await _fill(year, max(round(_HOURS * size), 6))
        seconds: dict[str, dict[str, list[float]]] = defaultdict(lambda: defaultdict(list))
        for turn in range(_TIMES):
            for name in ("empty", "year") if turn % 2 else ("year", "empty"):
                await _work(worlds[name], turn, seconds[name])
    for label, samples in seconds["year"].items():
        base = median(seconds["empty"][label])
        ratios = [each / base for each in samples]
        yield Figure(f"{label}, of a year to empty", ratios, "×", _MOST)


async def _deployed(database: Database) -> World:
    jobs = []
    for n in range(10):
        made = source(f"s{n}", _PARTITIONING)
        made["outputs"][0]["columns"] = ["x", "y", "z"]
        jobs.append(made)
        for level, above in (("a", "s"), ("b", "a"), ("c", "b")):
            columns = {"x": [f"{above}{n}.x"], "y": [f"{above}{n}.y"]}
            jobs.append(
                job(f"{level}{n}", f"{above}{n}", partitioning=_PARTITIONING, columns=columns)
            )
    return await World.made(database, *jobs)


async def _fill(database: Database, hours: int) -> None:
    text = Path(__file__).with_suffix(".sql").read_text().replace(":hours", str(hours))
    async with database.connection() as conn:
        await conn.execute(text.encode())
        await conn.execute(b"VACUUM ANALYZE")


async def _work(world: World, turn: int, seconds: dict[str, list[float]]) -> None:
    """Take a change of a partition through all jobs, and look at everything."""

    async def timed(label: str, work: Callable[[], Awaitable[Any]]) -> Any:
        began = perf_counter()
        result = await work()
        seconds[label].append(perf_counter() - began)
        return result

    async with world.conn() as conn:
        org = world.org
        for columns in (None, ("x",)):
            of = "an event" if columns is None else "an event of a column"
            event = SourceEvent(dataset="s1", partitions=(_KEY,), columns=columns)
            received = Received.one(event, Delivery("growth", str(turn), b"x"))
            batch = Batch(consumer="growth", received=(received,))
            await timed(f"ingest {of}", lambda batch=batch: ingest(conn, org, batch))
            await timed(f"plan {of}", lambda: plan(conn, org))
            while leases := await timed("claim", lambda: claim(conn, org, Claimant("growth"), 1)):
                (lease,) = leases
                hashes = {"x": f"{turn} {columns}", "y": f"{turn}"}
                output = Output(
                    lease.outputs[0].name, _KEY, row_count=1, column_fingerprints=hashes
                )
                completion = Completion(lease, (output,))
                await timed("complete", lambda done=completion: complete(conn, org, done))
        await timed("archive", lambda: archive(conn, org, 0))
    await _look(world, timed)


async def _look(world: World, timed: Callable[..., Awaitable[Any]]) -> None:
    args = world.caller, world.service
    await timed("status", lambda: status(*args))
    listed = await timed("tasks", lambda: tasks(*args, limit=20))
    await timed("tasks, failed", lambda: tasks(*args, statuses=["failed"], limit=20))
    await timed("tasks of a partition", lambda: tasks(*args, job="b1", partition=_KEY, limit=20))
    await timed("explain a partition", lambda: explain_partition(*args, "b1", _KEY))
    id_ = str(listed[0].id)
    await timed("explain a task", lambda: explain_task(*args, id_))
    async with world.conn() as conn:
        await timed("a task by the end of its id", lambda: task_id(conn, world.org, id_[-8:]))
    await timed("plans", lambda: plans(*args, limit=20))
    await timed("dead letters", lambda: dead_letters(*args, limit=20))
    found = await timed("invalidations", lambda: invalidations(*args, limit=20))
    await timed("invalidations, open", lambda: invalidations(*args, dataset="s9", only_open=True))
    await timed("progress of --wait", lambda: progress(*args, [found[0].id]))
