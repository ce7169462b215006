"""Waves: the tasks caused by one change, their order, and the pruned tasks."""

from collections import Counter
from typing import Any

import pytest

from engine.flow.execution.fail import fail
from engine.flow.execution.retry import retry
from engine.store.database import Database
from tests.support.worlds import DAILY, WEEKLY, World, job, source

DAY = "2013-02-13"


async def test_a_change_reaches_only_its_downstream_jobs(database: Database) -> None:
    world = await World.made(
        database, source("a"), source("z"), job("b", "a"), job("c", "b"), job("y", "z")
    )
    await world.changed("a", DAY)
    assert await world.run() == [f"b[{DAY}]", f"c[{DAY}]"]


async def test_the_end_of_a_diamond_runs_once_after_both_arms(database: Database) -> None:
    world = await World.made(
        database, source("a"), job("l", "a"), job("r", "a"), job("bottom", "l", "r")
    )
    await world.changed("a", DAY)
    left, right = await world.claim()
    await world.finish(left)
    assert await world.claim() == []
    await world.finish(right)
    assert await world.run() == [f"bottom[{DAY}]"]


def ladder(rungs: int) -> list[dict[str, Any]]:
    """Diamonds, each below the last: d0 feeds l0 and r0, which feed d1, and so on."""
    jobs = [source("d0")]
    for n in range(rungs):
        jobs += [job(f"l{n}", f"d{n}"), job(f"r{n}", f"d{n}"), job(f"d{n + 1}", f"l{n}", f"r{n}")]
    return jobs


async def test_a_ladder_of_twenty_diamonds_runs_each_job_once(database: Database) -> None:
    world = await World.made(database, *ladder(20))
    await world.changed("d0", DAY)
    ran = await world.run()
    rungs = [[f"l{n}[{DAY}]", f"r{n}[{DAY}]", f"d{n + 1}[{DAY}]"] for n in range(20)]
    assert ran == [task for rung in rungs for task in rung]


async def test_a_change_during_a_wave_runs_no_job_three_times(
    database: Database,
) -> None:
    """Completed and running jobs run once more; queued jobs join, and run once."""
    world = await World.made(database, *ladder(4))
    await world.changed("d0", DAY)
    for lease in await world.claim():
        await world.finish(lease)
    (running,) = await world.claim()
    await world.changed("d0", DAY)
    again = await world.claim()
    assert sorted(each.job.name for each in again) == ["l0", "r0"], "d1 queues behind itself"
    await world.finish(running)
    assert await world.claim() == [], "l1 and r1 wait for the second d1"
    for lease in again:
        await world.finish(lease)
    await world.run()
    twice = {"l0", "r0", "d1"}
    rest = {name for n in range(1, 4) for name in (f"l{n}", f"r{n}", f"d{n + 1}")}
    assert Counter(world.log) == {
        **{f"{name}[{DAY}]": 2 for name in twice},
        **{f"{name}[{DAY}]": 1 for name in rest},
    }


async def test_a_failure_blocks_only_downstream_tasks(database: Database) -> None:
    beside = [job("x0", "d0"), job("x1", "x0")]
    world = await World.made(database, *ladder(3), *beside)
    await world.changed("d0", DAY)
    (left,) = (lease for lease in await world.claim() if lease.job.name == "l0")
    async with world.conn() as conn:
        await fail(conn, world.org, left, "it broke", retryable=False)
    running = await world.task(f"r0[{DAY}]", "running")
    assert running["attempts"] == 1
    states = await world.tasks()
    assert states["failed"] == [f"l0[{DAY}]"]
    below = {"d1", "l1", "r1", "d2", "l2", "r2", "d3", "x1"}
    assert {*states["blocked"]} == {f"{name}[{DAY}]" for name in below}
    async with world.conn() as conn:
        await retry(conn, world.org, left.task_id)
    assert await world.run() == [f"l0[{DAY}]"], "r0 and x0 are still in somebody's hands"


async def test_an_unchanged_result_skips_its_dependents(database: Database) -> None:
    world = await World.made(database, source("a"), job("b", "a"), job("c", "b"), job("d", "c"))
    await world.changed("a", DAY)
    await world.run(same=["b"])
    versions = await world.rows(
        "SELECT materialized_at FROM partition_versions WHERE fingerprint = 'same'"
    )
    await world.changed("a", DAY)
    assert await world.run(same=["b"]) == [f"b[{DAY}]"]
    assert (await world.tasks())["skipped"] == [f"c[{DAY}]", f"d[{DAY}]"]
    again = await world.rows(
        "SELECT materialized_at FROM partition_versions WHERE fingerprint = 'same'"
    )
    assert again == versions
    reasons = await world.rows("SELECT DISTINCT outcome FROM tasks WHERE status = 'skipped'")
    assert reasons == [{"outcome": "no input has changed"}]


async def test_one_changed_arm_runs_the_end_of_a_diamond(database: Database) -> None:
    world = await World.made(
        database, source("a"), job("l", "a"), job("r", "a"), job("bottom", "l", "r")
    )
    await world.changed("a", DAY)
    await world.run(same=["l"])
    await world.changed("a", DAY)
    assert await world.run(same=["l"]) == [f"l[{DAY}]", f"r[{DAY}]", f"bottom[{DAY}]"]


async def test_a_new_change_joins_tasks_that_have_not_started(database: Database) -> None:
    world = await World.made(database, source("a"), job("b", "a"), job("c", "b"))
    await world.changed("a", DAY)
    await world.changed("a", DAY)
    assert await world.run() == [f"b[{DAY}]", f"c[{DAY}]"]
    joined = await world.rows("SELECT cardinality(plan_ids) AS plans FROM tasks")
    assert [row["plans"] for row in joined] == [2, 2]


async def test_a_new_change_waits_for_the_running_task(database: Database) -> None:
    world = await World.made(database, source("a"), job("b", "a"), job("c", "b"))
    await world.changed("a", DAY)
    (running,) = await world.claim()
    await world.changed("a", DAY)
    assert await world.claim() == [], "two tasks for one job and partition never run at once"
    await world.finish(running)
    assert await world.run() == [f"b[{DAY}]", f"c[{DAY}]"], "c waited for the second b"


async def test_a_week_waits_for_its_days_and_runs_once(database: Database) -> None:
    world = await World.made(
        database, source("a"), job("b", "a"), job("w", "b", partitioning=WEEKLY)
    )
    await world.changed("a", "2013-02-11..2013-02-17")
    ran = await world.run()
    assert ran[-1] == "w[2013-W07]"
    assert len(ran) == 8


async def test_a_job_deployed_while_its_input_is_running_waits_for_it(
    database: Database,
) -> None:
    world = await World.made(database, source("a"), job("b", "a"))
    await world.changed("a", DAY)
    (running,) = await world.claim()
    await world.deploy(source("a"), job("b", "a"), job("c", "b"))
    assert await world.claim() == []
    await world.finish(running)
    assert await world.run() == [f"c[{DAY}]"]


async def test_a_corrected_output_is_rebuilt(database: Database) -> None:
    world = await World.made(database, source("a"), job("b", "a"), job("c", "b"))
    await world.changed("a", DAY)
    await world.run()
    await world.changed("b", DAY, reason="correction")
    assert await world.run() == [f"b[{DAY}]", f"c[{DAY}]"]


async def test_a_rewritten_output_triggers_only_its_readers(database: Database) -> None:
    world = await World.made(database, source("a"), job("b", "a"), job("c", "b"))
    await world.changed("a", DAY)
    await world.run()
    await world.changed("b", DAY, reason="rewritten")
    assert await world.run() == [f"c[{DAY}]"]


async def test_readers_of_other_columns_are_pruned(database: Database) -> None:
    columns = ["seats", "notes"]
    planes = source("planes", {})
    planes["outputs"][0]["columns"] = columns
    world = await World.made(
        database,
        planes,
        job("s", "planes", partitioning={}, columns={"n": ["planes.seats"]}),
        job("t", "planes", partitioning={}, columns={"n": ["planes.notes"]}),
    )
    await world.changed("planes", reason="arrival")
    assert sorted(await world.run()) == ["s[*]", "t[*]"]
    await world.changed("planes", columns=("seats",))
    assert await world.run() == ["s[*]"]


@pytest.mark.parametrize("partitioning", [{}, {"k": {"static": ["p", "q"]}}])
async def test_the_first_event_for_a_dataset_changes_every_column(
    database: Database, partitioning: dict[str, Any]
) -> None:
    s = job("s", "planes", partitioning=partitioning, columns={"n": ["planes.seats"]})
    t = job("t", "planes", partitioning=partitioning, columns={"n": ["planes.notes"]})
    world = await World.made(database, source("planes", partitioning), s, t)
    await world.changed("planes", columns=("seats",))
    assert {name[0] for name in await world.run()} == {"s", "t"}


async def test_adjacent_partitions_share_a_task(database: Database) -> None:
    world = await World.made(
        database, source("a"), job("b", "a", scaling={"partitions_per_task": 7})
    )
    await world.changed("a", "2013-02-01..2013-02-03")
    await world.changed("a", "2013-02-03..2013-02-04")
    leased = [key for lease in await world.claim() for key in lease.partitions]
    assert sorted(leased) == [f"2013-02-0{n}" for n in range(1, 5)]


async def test_partitions_of_a_failed_attempt_are_built_by_the_queued_task(
    database: Database,
) -> None:
    blocks = job("b", "a", scaling={"partitions_per_task": 10})
    world = await World.made(database, source("a"), blocks)
    await world.changed("a", "2013-02-14")
    (running,) = await world.claim()
    await world.changed("a", "2013-02-15")
    async with world.conn() as conn:
        await fail(conn, world.org, running, "it broke")
    (behind,) = await world.claim()
    assert sorted(behind.partitions) == ["2013-02-14", "2013-02-15"]


async def test_nothing_is_planned_without_a_change(database: Database) -> None:
    world = await World.made(database, source("a"), job("b", "a"))
    assert await world.plan() is None
    assert await world.run() == []


async def test_a_reader_of_the_last_partition_waits_for_open_upstream_tasks(
    database: Database,
) -> None:
    world = await World.made(
        database,
        source("a"),
        job("b", "a"),
        job("newest", {"dataset": "b", "mapping": "last"}, partitioning={}),
    )
    await world.changed("a", "2013-02-13")
    assert await world.run() == ["b[2013-02-13]", "newest[*]"]


def columned() -> list[dict[str, Any]]:
    """s has columns a and b; p preserves both; r reads only the column from b."""
    start = source("s")
    start["outputs"][0]["columns"] = ["a", "b"]
    made = job("p", "s", columns={"pa": ["s.a"], "pb": ["s.b"]})
    return [start, made, job("r", "p", columns={"x": ["p.pb"]})]


async def test_readers_of_a_run_that_read_more_than_its_cause_are_not_left_stale(
    database: Database,
) -> None:
    """P runs for a when b has also changed; after b is planned, p's result is unchanged."""
    world = await World.made(database, *columned())
    await world.changed("s", DAY, reason="arrival")
    await world.run()
    await world.changed("s", DAY, columns=("a",))
    (early,) = await world.claim()
    await world.finish(early, "with b as it is by now")
    await world.changed("s", DAY, columns=("b",))
    (again,) = await world.claim()
    await world.finish(again, "with b as it is by now")
    assert await world.run() == [f"r[{DAY}]"]
    await world.changed("s", DAY, columns=("b",))
    (same,) = await world.claim()
    await world.finish(same, "with b as it is by now")
    assert await world.run() == [], "r has read it by now"


async def test_every_column_of_a_new_partition_counts_as_changed(database: Database) -> None:
    world = await World.made(database, *columned())
    await world.changed("s", DAY, columns=("a",))
    assert await world.run() == [f"p[{DAY}]", f"r[{DAY}]"]
    await world.changed("s", DAY, columns=("a",))
    assert await world.run() == [f"p[{DAY}]"]


async def test_a_rewrite_of_a_dataset_covers_existing_partitions(database: Database) -> None:
    world = await World.made(database, source("a"), job("b", "a"))
    await world.changed("a", DAY)
    await world.run()
    await world.changed("a", "2013-02-14")
    await world.changed("b", reason="rewritten")
    existing = await world.rows(
        "SELECT partition_key FROM partition_versions WHERE dataset_uuid = %s",
        await world.dataset_id("b"),
    )
    assert existing == [{"partition_key": DAY}]


async def test_a_task_with_added_partitions_waits_for_their_inputs(
    database: Database,
) -> None:
    late = {"dataset": "late", "wait_for": "all"}
    block = job("b", "a", late, scaling={"partitions_per_task": 10})
    world = await World.made(database, source("a"), source("late"), block)
    await world.changed("late", "2013-02-14")
    await world.changed("a", "2013-02-14..2013-02-15")
    (row,) = await world.rows("SELECT status, waiting_for FROM tasks")
    assert (row["status"], row["waiting_for"]) == ("blocked", {"late": ["2013-02-15"]})
    await world.changed("late", "2013-02-15")
    assert await world.run() == ["b[2013-02-14]"]


async def test_the_first_rows_of_a_partition_count_as_all_rows(database: Database) -> None:
    reads = {
        "dataset": "s",
        "mapping": {"dt": {"window": [-1, 0]}},
        "wait_for": "all",
        "passes": {"origin": ["origin"]},
    }
    by_origin = DAILY | {"origin": {"static": ["EWR", "JFK"]}}
    s = source("s")
    s["outputs"][0]["columns"] = ["dt", "origin"]
    world = await World.made(database, s, job("r", reads, partitioning=by_origin))
    await world.changed("s", "2013-02-14")
    assert await world.run() == []
    await world.changed("s", DAY, rows={"origin": "JFK"})
    assert "r[dt=2013-02-14/origin=EWR]" in await world.run()
