"""First runs: new in every column regardless of the cause, and waiting for inputs in blocks."""

from typing import Any

import pytest

from engine.flow.execution.cancel import cancel
from engine.flow.planning.audit import audit_all
from engine.model.task import Output
from engine.store.database import Database
from tests.support.worlds import DAILY, World, job, source

BY_ORIGIN = DAILY | {"origin": {"dynamic": True}}
FIRST, SECOND = "2013-02-13", "2013-02-14"


def _reader(column: str) -> dict[str, object]:
    return job(f"of_{column}", "m", partitioning=BY_ORIGIN, columns={column: [f"m.{column}"]})


async def _begun(database: Database) -> World:
    """`m` has a single origin on the first of two days of `a`; each reader reads one column."""
    m = job("m", "a", "c", partitioning=BY_ORIGIN, columns={"x": ["a.x"], "y": ["c.y"]})
    sources = source("a"), source("c", BY_ORIGIN)
    world = await World.made(database, *sources, m, _reader("x"), _reader("y"))
    await world.changed("a", SECOND)
    await world.changed("c", f"dt={FIRST}/origin=JFK")
    await world.run()
    return world


async def test_a_first_run_is_read_in_every_column(
    database: Database,
) -> None:
    world = await _begun(database)
    slot = f"dt={SECOND}/origin=JFK"
    await world.changed("a", SECOND, columns=("x",))
    assert await world.run() == [f"m[{slot}]", f"of_x[{slot}]"]
    await world.plan()
    assert f"of_y[{slot}]" in await world.run()


async def test_a_later_run_is_read_by_column(database: Database) -> None:
    world = await _begun(database)
    slot = f"dt={FIRST}/origin=JFK"
    await world.change("a", FIRST)
    await world.plan()
    await world.run()
    await world.changed("a", FIRST, columns=("x",))
    assert await world.run() == [f"m[{slot}]", f"of_x[{slot}]"]
    assert await world.plan() is None


async def test_two_unbounded_inputs_build_their_product(database: Database) -> None:
    tails, routes = {"tail": {"dynamic": True}}, {"route": {"dynamic": True}}
    world = await World.made(
        database,
        source("planes", tails),
        source("routes", routes),
        job("pairs", "planes", "routes", partitioning=tails | routes),
    )
    await world.changed("planes", "N1")
    assert await world.run() == []
    await world.change("planes", "N2")
    await world.change("routes", "A")
    await world.plan()
    assert sorted(await world.run()) == [f"pairs[tail={tail}/route=A]" for tail in ("N1", "N2")]
    await world.changed("routes", "B")
    assert sorted(await world.run()) == [f"pairs[tail={tail}/route=B]" for tail in ("N1", "N2")]


def _window(most: int) -> dict[str, Any]:
    """Return a job that reads a day and the next, in tasks of at most ``most`` partitions."""
    read = {"dataset": "up", "mapping": {"dt": {"from": "dt", "window": [0, 1]}}, "wait_for": "all"}
    return job("win", read, columns={"y": ["up.y"]}, scaling={"partitions_per_task": most})


async def _run_up(world: World, **values: str) -> None:
    """Run all tasks; ``values`` are the contents of the columns of ``up``."""
    for lease in await world.claim():
        if lease.job.name == "up":
            outputs = [Output("up", key, column_fingerprints=values) for key in lease.partitions]
            await world.complete(lease, *outputs)
        else:
            await world.finish(lease)


async def test_a_first_run_waits_in_a_block_with_a_stale_partition(database: Database) -> None:
    up = job("up", "a", columns={"x": ["a.x"], "y": ["a.y"]})
    world = await World.made(database, source("a"), up, _window(1))
    await world.changed("a", "2013-02-14..2013-02-15")
    await _run_up(world, x="1", y="1")
    await _run_up(world)
    await world.deploy(source("a"), up, _window(2))
    await world.run()
    waiting = await world.rows(
        "SELECT t.id, t.partitions FROM tasks t JOIN jobs j ON j.id = t.job_id"
        " WHERE j.name = 'win' AND t.status = 'blocked'"
    )
    assert [row["partitions"] for row in waiting] == [["2013-02-13"], ["2013-02-15"]]
    async with world.conn() as conn:
        await cancel(conn, world.org, waiting[1]["id"])
    await world.changed("a", "2013-02-15", columns=("x",))
    await _run_up(world, x="2", y="2")  # The run has read a further change, of y.
    await world.plan()
    await world.run()
    task = await world.task("win[2013-02-14]", "blocked")
    assert task["partitions"] == ["2013-02-14", "2013-02-15"]
    assert task["waiting_for"] == {"up": ["2013-02-16"]}
    await world.changed("a", "2013-02-16")
    assert "win[2013-02-14]" in await world.run()


@pytest.mark.parametrize("strategy", ["PerPartition", "Full"])
async def test_a_canceled_first_run_stays_canceled_until_a_change_reaches_it(
    database: Database, strategy: str
) -> None:
    """A reader is not blocked again by runs upstream that change nothing."""
    late = {"dataset": "late", "wait_for": "all", "mapping": "all"}
    partitioning = {} if strategy == "Full" else DAILY
    read = {"dataset": "m", "mapping": "all"} if strategy == "Full" else "m"
    waits = job("b", read, late, partitioning=partitioning, execution_strategy=strategy)
    inputs = [{"dataset": name, "mapping": "all"} for name in ("b", "z")]
    total = job("total", *inputs, partitioning={})
    world = await World.made(
        database, source("a"), source("late", {}), source("z"), job("m", "a"), waits, total
    )
    await world.changed("a", FIRST)
    await world.changed("z", FIRST)
    assert await world.run(["m"]) == [f"m[{FIRST}]"]
    name = "b[*]" if strategy == "Full" else f"b[{FIRST}]"
    async with world.conn() as conn:
        await cancel(conn, world.org, (await world.task(name, "blocked"))["id"], by="ann")
    assert await world.run() == ["total[*]"]

    for _ in range(2):
        await world.changed("a", FIRST)
        await world.changed("z", FIRST)
        assert sorted(await world.run(["m"])) == [f"m[{FIRST}]", "total[*]"]
    assert "blocked" not in await world.tasks()

    await world.changed("a", FIRST)
    assert await world.run() == [f"m[{FIRST}]"]
    assert (await world.task(name, "blocked"))["waiting_for"] == {"late": ["*"]}
    await world.changed("late")
    assert await world.run() == [name, "total[*]"]
    async with world.conn() as conn:
        assert (await audit_all(conn, world.org)).shown == []


async def test_a_decision_on_a_built_partition_ends_with_a_task_that_is_skipped(
    database: Database,
) -> None:
    """The decision was made during a run that has read the change."""
    waits = job("b", {"dataset": "m", "wait_for": "all"})
    world = await World.made(database, source("a"), job("m", "a"), waits)
    await world.changed("a", FIRST)
    await world.run(m="1")
    await world.changed("a", FIRST)
    await world.finish(*await world.claim(), "2")
    (running,) = await world.claim()
    await world.changed("b", FIRST, reason="manual")
    async with world.conn() as conn:
        await cancel(conn, world.org, (await world.task(f"b[{FIRST}]", "blocked"))["id"])
    await world.finish(running)
    await world.changed("a", FIRST)
    assert await world.run(m="2") == [f"m[{FIRST}]"]

    await world.rows(
        "UPDATE partition_versions p SET materialized_at = clock_timestamp() FROM datasets d "
        "WHERE d.id = p.dataset_uuid AND d.name = 'm' RETURNING p.partition_key"
    )
    async with world.conn() as conn:
        counts = await audit_all(conn, world.org)
    assert (counts.left, counts.lost) == (0, 1)


async def test_a_single_run_job_waits_for_the_inputs_of_each_new_partition(
    database: Database,
) -> None:
    days = {"dt": {"time": "day", "start": "2013-01-01"}}
    inputs = ["a", {"dataset": "late", "wait_for": "all"}]
    full = job("full", *inputs, partitioning=days, execution_strategy="Full")
    world = await World.made(database, source("a", days), source("late", days), full)
    for day in (FIRST, SECOND):
        await world.changed("a", day)
        assert (await world.task("full[*]", "blocked"))["waiting_for"] == {"late": [day]}
        await world.changed("late", day)
        assert await world.run() == ["full[*]"]


async def test_a_first_run_may_lack_some_inputs(database: Database) -> None:
    read = {"dataset": "a", "mapping": {"dt": {"from": "dt", "window": [-3, 0]}}}
    world = await World.made(database, source("a"), job("b", read | {"wait_for": {"all_but": 1}}))
    await world.changed("a", "2013-02-13..2013-02-14")
    await world.plan()
    assert await world.run() == []
    await world.changed("a", "2013-02-16")
    assert await world.run() == ["b[2013-02-16]"]


async def test_a_deploy_that_drops_wait_for_forgets_the_missing_inputs(database: Database) -> None:
    late = {"dataset": "late", "wait_for": "all"}
    world = await World.made(database, source("a"), source("late"), job("b", "a", late))
    await world.changed("a", FIRST)
    task = await world.task(f"b[{FIRST}]", "blocked")
    assert task["waiting_for"] == {"late": [FIRST]}
    await world.deploy(source("a"), source("late"), job("b", "a", "late"))
    task = await world.task(f"b[{FIRST}]", "queued")
    assert task["waiting_for"] is None


async def test_a_day_whose_first_run_was_canceled_counts_as_known(database: Database) -> None:
    """An input that leaves the day open reaches the day although none of its partitions exist."""
    daily: dict[str, Any] = {"dt": {"time": "day"}}
    tails: dict[str, Any] = {"tail": {"dynamic": True}}
    m = job("m", "a", "planes", partitioning=daily | tails)
    world = await World.made(database, source("a", daily), source("planes", tails), m)
    await world.changed("planes", "N1")
    await world.changed("a", FIRST)
    assert await world.run() == [f"m[dt={FIRST}/tail=N1]"]
    await world.changed("a", SECOND)
    async with world.conn() as conn:
        task = await world.task(f"m[dt={SECOND}/tail=N1]", "queued")
        await cancel(conn, world.org, task["id"])
    await world.changed("planes", "N2")
    assert sorted(await world.run()) == [f"m[dt={day}/tail=N2]" for day in (FIRST, SECOND)]
