"""The list of row changes of a partition is bounded without loss of changes."""

from typing import Any

import pytest

from engine.flow.planning.audit import audit_all
from engine.lineage.content import MOST_ROW_CHANGES
from engine.store.database import Database
from tests.support.worlds import World, job, source

DAY = "2013-02-13"
BY_ORIGIN = {
    "dt": {"time": "day", "start": "2013-01-01", "end": "2014-01-01"},
    "origin": {"static": ["EWR", "JFK"]},
}
READ: dict[str, Any] = {"dataset": "a", "passes": {"origin": ["origin"]}}
MANY = 3 * MOST_ROW_CHANGES


async def lost(world: World) -> list[tuple[str, str]]:
    async with world.conn() as conn:
        counts = await audit_all(conn, world.org)
    assert counts.left == 0
    return [(each.dataset, each.partition) for each in counts.shown if each.verdict == "lost"]


async def longest(world: World) -> int:
    (row,) = await world.rows(
        "SELECT max(jsonb_array_length(row_changes)) AS n FROM partition_versions"
    )
    return int(row["n"])


@pytest.mark.parametrize("size", [1, 4])
async def test_many_row_changes_outside_of_a_partition_do_not_make_it_stale(
    database: Database, size: int
) -> None:
    scaling = {"partitions_per_task": size}
    world = await World.made(
        database, source("a"), job("b", READ, partitioning=BY_ORIGIN, scaling=scaling)
    )
    await world.changed("a", DAY)
    await world.run()
    for n in range(MANY):
        await world.changed("a", DAY, rows={"origin": "JFK", "n": n})
        assert len(await world.run()) == 1
    assert await longest(world) <= MOST_ROW_CHANGES
    assert await lost(world) == []


async def test_a_reader_affected_only_by_dropped_row_changes_stays_stale(
    database: Database,
) -> None:
    world = await World.made(database, source("a"), job("b", READ, partitioning=BY_ORIGIN))
    await world.changed("a", DAY)
    await world.run()
    await world.changed("a", DAY, rows={"origin": "JFK"})
    await world.rows("DELETE FROM tasks WHERE status = 'queued' RETURNING id")
    for n in range(MANY):
        await world.changed("a", DAY, rows={"origin": "EWR", "n": n})
    assert await world.run() == [f"b[dt={DAY}/origin=EWR]"]
    assert await lost(world) == [("b", f"dt={DAY}/origin=JFK")]


async def test_a_change_of_all_rows_before_dropped_row_changes_is_kept(
    database: Database,
) -> None:
    a = source("a")
    a["outputs"][0]["columns"] = ["origin", "n", "x"]
    world = await World.made(database, a, job("b", READ, partitioning=BY_ORIGIN))
    await world.changed("a", DAY)
    await world.run()
    await world.changed("a", DAY, columns=("x",))
    await world.rows("DELETE FROM tasks WHERE status = 'queued' RETURNING id")
    for n in range(MANY):
        await world.changed("a", DAY, rows={"origin": "JFK", "n": n}, columns=("n",))
    await world.rows("DELETE FROM tasks WHERE status = 'queued' RETURNING id")
    assert len(await lost(world)) == 2


async def test_row_changes_of_a_job_output_are_bounded(database: Database) -> None:
    origins = {"origin": ["origin"]}
    b = job("b", {"dataset": "a", "passes": origins})
    c = job("c", {"dataset": "b", "passes": origins}, partitioning=BY_ORIGIN)
    world = await World.made(database, source("a"), b, c)
    await world.changed("a", DAY)
    await world.run()
    for n in range(MANY):
        await world.changed("a", DAY, rows={"origin": "JFK", "n": n})
        assert await world.run() == [f"b[{DAY}]", f"c[dt={DAY}/origin=JFK]"]
    assert await longest(world) <= MOST_ROW_CHANGES
    assert await lost(world) == []


async def test_old_row_changes_do_not_make_a_single_run_job_stale(
    database: Database,
) -> None:
    whole = job(
        "b", READ | {"mapping": "all"}, partitioning=BY_ORIGIN, execution_strategy="Full",
        columns={"x": ["a.x"]},
    )  # fmt: skip
    a = source("a")
    a["outputs"][0]["columns"] = ["origin", "n", "x"]
    world = await World.made(database, a, whole)
    await world.changed("a", DAY)
    await world.run()
    for n in range(MANY):
        await world.changed("a", DAY, rows={"n": n}, columns=("n",))
    assert await world.run() == []
    assert await lost(world) == []
