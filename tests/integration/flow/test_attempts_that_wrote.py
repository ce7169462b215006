"""Possible writes of an attempt count as changed until a run has completed."""

from typing import Any

import pytest

from engine.flow.execution.cancel import cancel
from engine.flow.execution.fail import fail
from engine.flow.execution.reap import reap
from engine.model.task import Lease, Output
from engine.store.database import Database
from tests.support.worlds import World, job, source

DAY = "2013-02-13"


async def _die(world: World, lease: Lease, way: str) -> None:
    async with world.conn() as conn:
        if way == "fails":
            await fail(conn, world.org, lease, "boom")
        elif way == "is canceled":
            await cancel(conn, world.org, lease.task_id)
        else:
            await conn.execute(
                "UPDATE knockon.tasks SET lease_expires_at = clock_timestamp() - interval '1 s' "
                "WHERE status = 'running' AND id = %s",
                [lease.task_id],
            )
            await reap(conn, world.org)
        await conn.execute("UPDATE knockon.tasks SET next_retry_at = NULL")


@pytest.mark.parametrize("strategy", ["PerPartition", "Full"])
@pytest.mark.parametrize("way", ["fails", "is canceled", "loses its lease"])
async def test_a_reader_of_a_partial_write_runs_again(
    database: Database, way: str, strategy: str
) -> None:
    """An attempt writes in place and dies, a reader runs, the next run writes the old content."""
    day = {"dt": {"time": "day", "start": DAY, "end": "2013-02-14"}}
    mid = job("mid", "a", partitioning=day, execution_strategy=strategy)
    c = job("c", "mid", partitioning=day)
    world = await World.made(database, source("a", day), mid, c)
    tables = {"a": "A", "mid": "", "c": ""}

    async def finish(lease: Lease) -> None:
        read = {"mid": "a", "c": "mid"}[lease.job.name]
        tables[lease.job.name] = f"{lease.job.name}({tables[read]})"
        await world.complete(lease, Output(lease.job.name, DAY, tables[lease.job.name]))

    async def run() -> None:
        while leases := await world.claim():
            for lease in leases:
                await finish(lease)

    await world.changed("a", DAY)
    await run()
    await world.changed("c", DAY, reason="manual")
    (reader,) = await world.claim()
    tables["a"] = "B"
    await world.changed("a", DAY)
    (dying,) = await world.claim()
    tables["mid"] = f"mid({tables['a']})"
    await finish(reader)
    tables["a"] = "A"
    await world.changed("a", DAY)
    await _die(world, dying, way)
    await world.changed("a", DAY)
    await run()
    assert tables["c"] == "c(mid(A))"


async def test_a_failed_attempt_of_the_sql_operator_writes_nothing(database: Database) -> None:
    """Rows and completion share a transaction, so the cutoff still applies."""
    sql = {"operator": "sql", "config": {"sql": "SELECT 1 AS x FROM a"}}
    a = source("a")
    a["outputs"][0] |= {"columns": ["x"], "storage": {"table": "public.a"}}
    mid = job("mid", "a") | sql
    mid["config"] = sql["config"]
    world = await World.made(database, a, mid, job("c", "mid"))
    await world.changed("a", DAY)
    await world.run(same=["mid", "c"])
    await world.changed("a", DAY)
    (lease,) = await world.claim()
    await _die(world, lease, "fails")
    assert await world.run(same=["mid", "c"]) == [f"mid[{DAY}]"]


@pytest.mark.parametrize(
    "columns", [None, {"x": "1"}, {"x": "1", "y": "1"}], ids=["none", "one of two", "all"]
)
async def test_missing_column_fingerprints_leave_other_columns_unknown(
    database: Database, columns: dict[str, str] | None
) -> None:
    outputs: dict[str, Any] = {"columns": ["x", "y"]}
    mid = job("mid", "a")
    mid["outputs"][0] |= outputs
    world = await World.made(database, source("a"), mid, job("c", "mid"))

    async def run() -> list[str]:
        done = len(world.log)
        while leases := await world.claim():
            for lease in leases:
                fingerprints = columns if lease.job.name == "mid" else None
                output = Output(lease.job.name, DAY, column_fingerprints=fingerprints)
                await world.complete(lease, output)
        return world.log[done:]

    await world.changed("a", DAY)
    await run()
    await world.changed("a", DAY)
    is_complete = columns is not None and len(columns) == 2
    assert await run() == [f"mid[{DAY}]"] + ([] if is_complete else [f"c[{DAY}]"])


async def test_a_full_run_that_reports_some_partitions_has_written_all(
    database: Database,
) -> None:
    full = job("mid", "a", execution_strategy="Full", partitioning={"k": {"static": ["p", "q"]}})
    full["inputs"] = [{"dataset": "a", "mapping": "all"}]
    reader = job("c", "mid", partitioning={"k": {"static": ["p", "q"]}})
    world = await World.made(database, source("a"), full, reader)

    async def run(*keys: str) -> list[str]:
        done = len(world.log)
        while leases := await world.claim():
            for lease in leases:
                made = keys if lease.job.name == "mid" else lease.partitions
                await world.complete(lease, *(Output(lease.job.name, key, "same") for key in made))
        return sorted(world.log[done:])

    await world.changed("a", DAY)
    await run("p", "q")
    await world.changed("a", DAY)
    assert await run("p") == ["c[q]", "mid[*]"]
