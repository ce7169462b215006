"""Changes read by a run before their plan: once planned, every affected reader runs.

Workers report one fingerprint here, so any column of an output may have changed.
"""

from collections.abc import Set as AbstractSet
from typing import Any

import pytest

from engine.flow.execution.cancel import cancel
from engine.flow.planning.approve import approve
from engine.model.task import Output
from engine.store.database import Database
from engine.store.orgs import set_setting
from tests.support.worlds import DAILY, World, job, source

DAY, OTHER = "2013-02-13", "2013-02-14"
B = job("b", "a", columns={"x": ["a.x"], "y": ["a.y"]})
OF_TWO = {"x": ["b.x"], "y": ["b.y"], "z": ["f.s"]}


def _reader(name: str, *reads: str) -> dict[str, object]:
    """A job that reads only these columns, ``dataset.column``, each into a separate column."""
    inputs = dict.fromkeys(read.split(".")[0] for read in reads)
    return job(name, *inputs, columns={read.replace(".", "_"): [read] for read in reads})


async def _run(world: World, **fingerprints: str) -> AbstractSet[str]:
    """Run all queued tasks; returns the jobs that ran."""
    return {name.partition("[")[0] for name in await world.run(**fingerprints)}


async def _changed_in_x(database: Database, *jobs: dict[str, object]) -> World:
    """`b` of `a` by column, and these jobs; all have run, and then `a.x` has changed."""
    world = await World.made(database, source("a"), source("f"), B, *jobs)
    await world.change("f", DAY, OTHER)
    await world.changed("a", DAY, OTHER)
    await _run(world, b="1", d="1")
    await world.changed("a", DAY, columns=("x",))
    return world


async def _in_running(database: Database) -> World:
    """`d` makes a column from each of two of `b` and one of `f`; `b` has also read `a.y`."""
    d = job("d", "b", "f", columns=OF_TWO)
    return await _changed_in_x(database, d, _reader("dy", "d.y"))


async def test_a_pruned_reader_runs_when_the_change_is_planned(database: Database) -> None:
    world = await _changed_in_x(database, _reader("ys", "b.y"))
    assert await _run(world, b="2") == {"b"}
    await world.changed("a", DAY, columns=("y",))
    assert await _run(world, b="2") == {"b", "ys"}


async def test_a_reader_of_a_task_that_read_the_change_early_runs(database: Database) -> None:
    """`t` has read the change early, for another cause, and runs again for that cause."""
    t, d = _reader("t", "b.y", "f.s"), _reader("d", "t.b_y")
    world = await _changed_in_x(database, t, d)
    assert await _run(world, b="2") == {"b"}
    await world.changed("f", DAY, columns=("s",))
    assert await _run(world, b="2", t="2") == {"t"}
    await world.change("f", DAY, columns=("s",))
    await world.changed("a", DAY, columns=("y",))
    assert "d" in await _run(world, b="2", t="2")


async def test_a_reader_of_a_skipped_task_runs(database: Database) -> None:
    d = job("d", "b", columns={"x": ["b.x"], "y": ["b.y"]})
    world = await _changed_in_x(database, d, _reader("e", "d.y", "f.s"), _reader("g", "e.d_y"))
    assert await _run(world, b="2", d="2") == {"b", "d"}
    await world.change("f", DAY, columns=("s",))
    await world.changed("a", DAY, columns=("y",))
    assert {"e", "g"} <= await _run(world, b="2", d="2")


async def test_the_change_may_be_planned_during_a_run(database: Database) -> None:
    world = await _in_running(database)
    await world.finish((await world.claim())[0], "2")
    (d,) = await world.claim()
    await world.changed("a", DAY, columns=("y",))
    await world.changed("f", DAY, columns=("s",))
    await world.finish(d, "2")
    assert "dy" in await _run(world, b="2", d="3")


@pytest.mark.parametrize("columns", [("y",), None])
async def test_the_change_may_be_planned_and_rebuilt_during_a_run(
    database: Database, columns: tuple[str, ...] | None
) -> None:
    world = await _in_running(database)
    await world.finish((await world.claim())[0], "2")
    (d,) = await world.claim()
    await world.changed("a", DAY, columns=columns)
    await world.changed("f", DAY, columns=("s",))
    await world.finish((await world.claim())[0], "2")
    await world.finish(d, "2")
    assert "dy" in await _run(world, b="2", d="3")


async def test_an_approved_plan_may_propagate_the_change(database: Database) -> None:
    """Meanwhile the same columns of another partition change."""
    world = await _in_running(database)
    await _limit(world, 2)
    await world.change("a", DAY, columns=("y",))
    planned = await world.plan()
    assert planned
    assert planned.exceeded_limits
    await _limit(world, None)
    await world.changed("a", OTHER, columns=("y",))
    assert f"dy[{DAY}]" not in await world.run(b="2", d="2")
    async with world.conn() as conn:
        await approve(conn, world.org, planned.plan_id)
    await world.changed("f", DAY, columns=("s",))
    assert "dy" in await _run(world, b="2", d="3")


async def test_the_change_may_be_planned_for_some_rows_after_others(database: Database) -> None:
    keys = {"k": {"static": ["p", "q"]}}
    reads_a = {"dataset": "a", "passes": {"k": "k"}}
    b = job("b", reads_a, partitioning=keys, columns={"x": ["a.x"], "y": ["a.y"]})
    d = job("d", "b", "f", partitioning=keys, columns=OF_TWO)
    dy = job("dy", "d", partitioning=keys, columns={"y": ["d.y"]})
    world = await World.made(database, source("a", {}), source("f", keys), b, d, dy)
    await world.change("f", "p", "q")
    await world.changed("a", "*")
    await _run(world, b="1", d="1")
    await world.change("a", "*", columns=("x",))
    await world.changed("a", "*", columns=("y",), rows={"k": "q"})
    assert "dy[p]" not in await world.run(b="2", d="2")
    await world.change("a", "*", columns=("y",), rows={"k": "p"})
    await world.changed("f", "p", columns=("s",))
    assert "dy[p]" in await world.run(b="2", d="3")


@pytest.mark.parametrize("is_canceled", [True, False])
async def test_the_change_may_be_planned_for_rows_without_a_fingerprint(
    database: Database, is_canceled: bool
) -> None:
    """Comparing columns does not reveal an earlier change of other rows."""
    by_row = {**DAILY, "k": {"static": ["p", "q"]}}
    reads_a = {"dataset": "a", "passes": {"k": ["k"]}}
    reads_b = {"dataset": "b", "passes": {"k": ["k"]}}
    b = job("b", reads_a, columns={"x": ["a.x"], "y": ["a.y"], "k": ["a.k"]})
    c = job("c", reads_b, partitioning=by_row, columns={"x": ["b.x"]})
    world = await World.made(database, source("a"), b, c)

    async def run(x: str, **more: Any) -> list[str]:
        await world.changed("a", DAY, **more)
        (lease,) = await world.claim()
        await world.complete(
            lease, Output("b", DAY, column_fingerprints={"x": x, "y": "1", "k": "1"})
        )
        return await world.run()

    assert len(await run("1")) == 2
    assert await run("2", columns=("x",), rows={"k": "p"}) == [f"c[dt={DAY}/k=p]"]
    if is_canceled:
        await world.changed("a", DAY, columns=("x",), rows={"k": "p"})
        task = await world.task(f"b[{DAY}]", "queued")
        async with world.conn() as conn:
            await cancel(conn, world.org, task["id"])
    else:
        await world.changed("b", DAY, columns=("y",), reason="rewritten")
        assert await world.run() == []
    assert f"c[dt={DAY}/k=q]" in await run("2", columns=("x",), rows={"k": "q"})


async def test_a_pruned_reader_runs_for_changes_read_by_a_block_with_several_scopes(
    database: Database,
) -> None:
    """No scope was propagated for each partition, so the run propagates every change."""
    of_three = {each: [f"a.{each}"] for each in "xyz"}
    b = job("b", "a", columns=of_three, scaling={"partitions_per_task": 100})
    days = ["2013-02-13", "2013-02-14", "2013-02-15"]
    world = await World.made(database, source("a"), b, _reader("zs", "b.z"))
    await world.changed("a", *days)
    await _run(world, b="1")
    await world.change("a", *days, columns=("x",))
    await world.changed("a", days[1], columns=("y",))
    ran = await world.run(b="2")
    assert len([each for each in ran if each.startswith("b[")]) < len(days)
    assert {f"zs[{each}]" for each in days} <= {*ran, *await _found(world)}


async def _found(world: World) -> list[str]:
    await world.plan()
    return await world.run(b="2")


async def _limit(world: World, limit: int | None) -> None:
    async with world.conn() as conn:
        await set_setting(conn, world.org.id, "blast_radius", limit)


async def test_a_reader_without_a_run_runs_for_a_change_read_early(database: Database) -> None:
    """`d` builds the other day before its change is planned, and the same content afterwards."""
    d = job("d", "a", execution_strategy="Full", columns={"x": ["a.x"], "y": ["a.y"]})
    world = await World.made(database, source("a"), d, _reader("ys", "d.y"))
    days: list[tuple[str, ...]] = [(DAY,), (DAY, OTHER), (DAY, OTHER)]
    told = {"columns": None}, {"columns": ("x",)}, {"columns": None}
    for n, (made, what) in enumerate(zip(days, told, strict=True)):
        await world.changed("a", OTHER if n == 2 else DAY, **what)
        (lease,) = await world.claim()
        await world.complete(lease, *(Output("d", each, str(min(n, 1))) for each in made))
        await world.run()
    found = await world.rows("SELECT FROM partition_versions WHERE partition_key = %s", OTHER)
    assert len(found) == 3
