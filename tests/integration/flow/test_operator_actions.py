"""Causes of blocked tasks, and the actions of operators."""

from typing import Any
from uuid import UUID

import pytest

from engine.errors import InvalidInput, UnknownName
from engine.flow.execution import retry as retries
from engine.flow.execution.cancel import cancel
from engine.flow.execution.fail import fail
from engine.flow.execution.retry import retry, retry_failed
from engine.model.task import Output
from engine.store.database import Database
from engine.store.ids import new_id
from tests.support.worlds import WEEKLY, World, job, source

DAY = "2013-02-13"


@pytest.fixture
async def failed(database: Database) -> World:
    """b has failed permanently; c and d are blocked by b, e is not."""
    world = await World.made(
        database,
        source("a"),
        job("b", "a", max_attempts=1),
        job("c", "b"),
        job("d", "c"),
        job("e", "a"),
    )
    await world.changed("a", DAY)
    lease = next(each for each in await world.claim() if each.job.name == "b")
    async with world.conn() as conn:
        await fail(conn, world.org, lease, "it broke")
    return world


async def test_a_failed_task_blocks_only_its_dependents(failed: World) -> None:
    assert await failed.tasks() == {
        "failed": [f"b[{DAY}]"],
        "blocked": [f"c[{DAY}]", f"d[{DAY}]"],
        "running": [f"e[{DAY}]"],
    }


async def test_retry_unblocks_dependents(failed: World) -> None:
    task = await failed.task(f"b[{DAY}]", "failed")
    async with failed.conn() as conn:
        await retry(conn, failed.org, task["id"])
    assert await failed.run() == [f"b[{DAY}]", f"c[{DAY}]", f"d[{DAY}]"]


async def test_cancel_resolves_dependents(failed: World) -> None:
    task = await failed.task(f"b[{DAY}]", "failed")
    async with failed.conn() as conn:
        await cancel(conn, failed.org, task["id"], by="tom")
    canceled = await failed.task(f"b[{DAY}]", "canceled")
    assert canceled["outcome"] == "canceled: by hand (tom)"
    assert await failed.tasks("c") == {"skipped": [f"c[{DAY}]"]}
    assert await failed.tasks("d") == {"skipped": [f"d[{DAY}]"]}


async def test_a_new_change_requeues_a_failed_task(failed: World) -> None:
    await failed.changed("a", DAY)
    assert (await failed.tasks("b")) == {"queued": [f"b[{DAY}]"]}
    ran = await failed.run()
    assert ran == [f"b[{DAY}]", f"c[{DAY}]", f"d[{DAY}]"]


async def test_a_new_change_gives_a_failed_task_all_its_attempts_again(database: Database) -> None:
    world = await World.made(database, source("a"), job("b", "a", max_attempts=2))
    await world.changed("a", DAY)
    statuses = []
    for attempt in range(3):
        if attempt == 2:
            await world.changed("a", DAY)
        await world.rows("UPDATE tasks SET next_retry_at = NULL RETURNING id")
        (lease,) = await world.claim()
        async with world.conn() as conn:
            await fail(conn, world.org, lease, "it broke")
        statuses += await world.tasks("b")
    assert statuses == ["queued", "failed", "queued"]


async def test_only_failed_tasks_can_be_retried(failed: World) -> None:
    waiting = await failed.task(f"c[{DAY}]", "blocked")
    async with failed.conn() as conn:
        with pytest.raises(InvalidInput, match="blocked, neither failed nor canceled"):
            await retry(conn, failed.org, waiting["id"])
        with pytest.raises(UnknownName):
            await cancel(conn, failed.org, new_id())


async def test_a_first_run_waits_for_all_inputs_and_lists_missing_ones(database: Database) -> None:
    world = await World.made(
        database,
        source("a"),
        job("w", {"dataset": "a", "wait_for": "all"}, partitioning=WEEKLY),
    )
    await world.changed("a", "2013-02-11..2013-02-15")
    assert await world.run() == []
    waiting = await world.task("w[2013-W07]", "blocked")
    assert waiting["waiting_for"] == {"a": ["2013-02-16..2013-02-17"]}
    await world.changed("a", "2013-02-16")
    assert await world.run() == []
    await world.changed("a", "2013-02-17")
    assert await world.run() == ["w[2013-W07]"]
    await world.changed("a", "2013-02-12")
    assert await world.run() == ["w[2013-W07]"], "a partition that exists is fired by any change"


async def test_a_first_run_waits_for_a_number_of_inputs(database: Database) -> None:
    world = await World.made(
        database, source("a"), job("w", {"dataset": "a", "wait_for": 2}, partitioning=WEEKLY)
    )
    await world.changed("a", "2013-02-11")
    assert await world.run() == []
    await world.changed("a", "2013-02-14")
    assert await world.run() == ["w[2013-W07]"]


@pytest.mark.parametrize("strategy", ["Full", "PerUpdate"])
async def test_a_job_with_discovered_partitions_waits_for_its_first_run(
    database: Database, strategy: str
) -> None:
    """Its task names no partitions, because none are discovered before the run."""
    read: dict[str, Any] = {"dataset": "a"}
    more: dict[str, Any] = {"execution_strategy": strategy}
    if strategy == "PerUpdate":
        read |= {"cursor": {"column": "id", "type": "integer"}}
        more |= {"update_strategy": "append", "unique_key": ["id"]}
    late = {"dataset": "late", "wait_for": "all", "mapping": "all"}
    days = {"dt": {"time": "day", "start": "2013-02-13", "end": "2013-02-15"}}
    f = job("f", read, late, partitioning={"k": {"dynamic": True}}, **more)
    world = await World.made(database, source("a", {}), source("late", days), f)
    await world.changed("a")
    await world.changed("late", "2013-02-13")
    assert await world.run() == []
    waiting = await world.task("f[*]", "blocked")
    assert waiting["waiting_for"] == {"late": ["2013-02-14"]}
    await world.changed("late", "2013-02-14")
    assert await world.run() == ["f[*]"]
    await world.changed("a")
    assert await world.run() == ["f[*]"]


@pytest.fixture
async def asked_for(database: Database) -> World:
    """w is manual and was requested; its first run waits for a day of a."""
    w = job("w", {"dataset": "a", "wait_for": "all"}, partitioning=WEEKLY, activation="manual")
    world = await World.made(database, source("s"), job("a", "s"), w)
    await world.changed("s", "2013-02-11..2013-02-16")
    await world.run()
    await world.changed("w", "2013-W07", reason="manual")
    assert await world.run() == []
    waiting = await world.task("w[2013-W07]", "blocked")
    assert waiting["waiting_for"] == {"a": ["2013-02-17"]}
    return world


async def test_a_requested_manual_job_runs_after_a_run_builds_its_inputs(
    asked_for: World,
) -> None:
    await asked_for.changed("s", "2013-02-17")
    assert await asked_for.run() == ["a[2013-02-17]", "w[2013-W07]"]


async def test_a_requested_manual_job_runs_after_its_source_has_its_inputs(
    database: Database,
) -> None:
    w = job("w", {"dataset": "a", "wait_for": 2}, partitioning=WEEKLY, activation="manual")
    world = await World.made(database, source("a"), w)
    await world.changed("a", "2013-02-11")
    await world.changed("w", "2013-W07", reason="manual")
    assert await world.run() == []
    await world.changed("a", "2013-02-14")
    assert await world.run() == ["w[2013-W07]"]


async def test_a_held_first_run_continues_after_its_job_becomes_manual(
    database: Database,
) -> None:
    w = job("w", {"dataset": "a", "wait_for": 2}, partitioning=WEEKLY)
    world = await World.made(database, source("a"), w)
    await world.changed("a", "2013-02-11")
    assert await world.run() == []
    await world.deploy(source("a"), w | {"activation": "manual"})
    await world.changed("a", "2013-02-14")
    assert await world.run() == ["w[2013-W07]"]


async def test_a_request_for_all_partitions_includes_canceled_first_runs(
    database: Database,
) -> None:
    world = await World.made(database, source("a"), job("b", "a"))
    await world.changed("a", "2013-02-14")
    await world.run()
    await world.changed("a", DAY)
    task = await world.task(f"b[{DAY}]", "queued")
    async with world.conn() as conn:
        await cancel(conn, world.org, task["id"])
    await world.changed("b", reason="manual")
    assert sorted(await world.run()) == [f"b[{DAY}]", "b[2013-02-14]"]


_KEYS: dict[str, Any] = {"k": {"dynamic": True}}


async def test_the_next_full_run_builds_partitions_of_a_canceled_task(database: Database) -> None:
    b = job("b", "a", partitioning=_KEYS, execution_strategy="Full")
    world = await World.made(database, source("a", _KEYS), b)
    await world.changed("a", "one")
    await world.run()
    await world.changed("a", "two")
    async with world.conn() as conn:
        await cancel(conn, world.org, (await world.task("b[*]", "queued"))["id"])
    await world.changed("b", reason="manual")
    (lease,) = await world.claim()
    assert lease.partitions == ("one", "two")
    await world.finish(lease)
    assert await world.rows("SELECT FROM stale_decisions") == []


async def test_a_request_for_a_second_output_includes_canceled_first_runs(
    database: Database,
) -> None:
    both = job("b", "a")
    both["outputs"].append({"dataset": "c", "partitioning": both["outputs"][0]["partitioning"]})
    world = await World.made(database, source("a"), both)
    await world.changed("a", "2013-02-14")
    await world.run()
    await world.changed("a", DAY)
    task = await world.task(f"b[{DAY}]", "queued")
    async with world.conn() as conn:
        await cancel(conn, world.org, task["id"])
    await world.changed("c", reason="manual")
    assert sorted(await world.run()) == [f"b[{DAY}]", "b[2013-02-14]"]


@pytest.fixture
async def by_column(database: Database) -> World:
    """ys reads a column of b, and both have run."""
    b = job("b", "a", columns={"x": ["a.x"], "y": ["a.y"]})
    ys = job("ys", "b", columns={"y": ["b.y"]})
    world = await World.made(database, source("a"), b, ys)
    await world.changed("a", DAY)
    await _complete_b(world, "1")
    assert await world.run() == [f"ys[{DAY}]"]
    return world


async def _complete_b(world: World, y: str) -> None:
    (lease,) = await world.claim()
    await world.complete(lease, Output("b", DAY, column_fingerprints={"x": "1", "y": y}))


async def test_a_run_propagates_a_change_whose_task_was_canceled(by_column: World) -> None:
    await by_column.run(b="1")
    await by_column.changed("a", DAY, columns=("y",))
    task = await by_column.task(f"b[{DAY}]", "queued")
    async with by_column.conn() as conn:
        await cancel(conn, by_column.org, task["id"])
    await by_column.changed("a", DAY, columns=("x",))
    assert await by_column.run(b="2") == [f"b[{DAY}]"]
    await by_column.plan()
    assert await by_column.run() == [f"ys[{DAY}]"]


async def test_a_canceled_run_may_have_written(by_column: World) -> None:
    """A reader may have run on partial content, so the next run of the same content is a change."""
    await by_column.changed("a", DAY, columns=("y",))
    (lease,) = await by_column.claim()
    async with by_column.conn() as conn:
        await cancel(conn, by_column.org, lease.task_id)
    await by_column.changed("a", DAY, columns=("y",))
    await _complete_b(by_column, "1")
    assert await by_column.run() == [f"ys[{DAY}]"]


async def fail_all(world: World) -> list[UUID]:
    """Make every runnable task fail permanently."""
    leases = await world.claim()
    async with world.conn() as conn:
        for lease in leases:
            await fail(conn, world.org, lease, "it broke")
    return [lease.task_id for lease in leases]


@pytest.fixture
async def many_failed(database: Database) -> World:
    """Five tasks of b and five of c have failed."""
    world = await World.made(
        database, source("a"), job("b", "a", max_attempts=1), job("c", "a", max_attempts=1)
    )
    await world.changed("a", "2013-02-01..2013-02-05")
    await fail_all(world)
    return world


async def test_several_tasks_are_retried_atomically(many_failed: World) -> None:
    rows = await many_failed.rows("SELECT id FROM tasks ORDER BY id")
    ids = [row["id"] for row in rows]
    async with many_failed.conn() as conn:
        await retry(conn, many_failed.org, *ids[:3], ids[0])
        with pytest.raises(InvalidInput, match="neither failed"):
            await retry(conn, many_failed.org, *ids[3:], ids[0])
    counts = {status: len(names) for status, names in (await many_failed.tasks()).items()}
    assert counts == {"queued": 3, "failed": 7}


async def test_all_failed_tasks_of_a_job_are_retried(
    many_failed: World, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(retries, "_RETRIED_AT_ONCE", 2)
    async with many_failed.conn() as conn:
        assert await retry_failed(conn, many_failed.org, "b") == 5
        assert await retry_failed(conn, many_failed.org, "b") == 0
        assert await retry_failed(conn, many_failed.org) == 5
    assert {len(names) for names in (await many_failed.tasks()).values()} == {10}
    assert len(await fail_all(many_failed)) == 10
