"""Retry of canceled tasks, and cancellation of all tasks that match a filter."""

from typing import Any

import pytest

from engine.errors import InvalidInput
from engine.flow.execution import cancel as cancellation
from engine.flow.execution import retry as retries
from engine.flow.execution.cancel import cancel, cancel_all
from engine.flow.execution.retry import retry
from engine.flow.retention.archive import archive
from engine.model.states import UNFINISHED_STATUSES, TaskStatus
from engine.store.database import Database
from tests.support.worlds import World, finding_job, job, source

DAY = "2013-02-13"
_KEYS: dict[str, Any] = {"k": {"dynamic": True}}


@pytest.fixture
async def canceled(database: Database) -> World:
    """The first run of b was canceled; c depends on b."""
    world = await World.made(database, source("a"), job("b", "a"), job("c", "b"))
    await world.changed("a", DAY)
    task = await world.task(f"b[{DAY}]", "queued")
    async with world.conn() as conn:
        await cancel(conn, world.org, task["id"])
    return world


async def test_a_canceled_task_is_retried_with_its_dependents(canceled: World) -> None:
    task = await canceled.task(f"b[{DAY}]", "canceled")
    async with canceled.conn() as conn:
        retried = await retry(conn, canceled.org, task["id"])
    assert (retried.queued, retried.requested, len(retried.invalidations)) == (0, 1, 1)
    assert await canceled.rows("SELECT FROM stale_decisions") != []
    await canceled.plan()
    assert await canceled.rows("SELECT FROM stale_decisions") == []
    assert await canceled.run() == [f"b[{DAY}]", f"c[{DAY}]"]


async def test_a_task_canceled_long_ago_is_retried(canceled: World) -> None:
    task = await canceled.task(f"b[{DAY}]", "canceled")
    async with canceled.conn() as conn:
        await archive(conn, canceled.org, 0)
        assert await canceled.rows("SELECT FROM tasks") == []
        await retry(conn, canceled.org, task["id"])
    await canceled.plan()
    assert await canceled.run() == [f"b[{DAY}]", f"c[{DAY}]"]


@pytest.mark.parametrize("has_run", [False, True])
async def test_a_canceled_task_with_a_newer_one_is_not_retried(
    canceled: World, has_run: bool
) -> None:
    task = await canceled.task(f"b[{DAY}]", "canceled")
    await canceled.changed("a", DAY)
    if has_run:
        await canceled.run()
    status = "succeeded" if has_run else "queued"
    async with canceled.conn() as conn:
        with pytest.raises(InvalidInput, match=f"newer task .* is {status}: nothing is left"):
            await retry(conn, canceled.org, task["id"])


async def test_only_partitions_without_a_newer_task_are_retried(database: Database) -> None:
    b = job("b", "a", scaling={"partitions_per_task": 7})
    world = await World.made(database, source("a"), b)
    await world.changed("a", "2013-02-11..2013-02-13")
    (row,) = await world.rows("SELECT id FROM tasks")
    async with world.conn() as conn:
        await cancel(conn, world.org, row["id"])
    await world.changed("a", "2013-02-12")
    assert len(await world.run()) == 1
    async with world.conn() as conn:
        await retry(conn, world.org, row["id"])
    await world.plan()
    (lease,) = await world.claim()
    assert lease.partitions == ("2013-02-11", "2013-02-13")


async def test_a_canceled_single_run_is_retried(database: Database) -> None:
    b = job("b", "a", partitioning=_KEYS, execution_strategy="Full")
    world = await World.made(database, source("a", _KEYS), b)
    await world.changed("a", "one")
    await world.run()
    await world.changed("a", "two")
    task = await world.task("b[*]", "queued")
    async with world.conn() as conn:
        await cancel(conn, world.org, task["id"])
        await retry(conn, world.org, task["id"])
    await world.plan()
    (lease,) = await world.claim()
    assert lease.partitions == ("one", "two")
    async with world.conn() as conn:
        with pytest.raises(InvalidInput, match="is running"):
            await retry(conn, world.org, task["id"])


async def test_a_canceled_task_of_a_removed_job_is_not_retried(canceled: World) -> None:
    task = await canceled.task(f"b[{DAY}]", "canceled")
    await canceled.deploy(source("a"))
    async with canceled.conn() as conn:
        with pytest.raises(InvalidInput, match="no deployed DAG has its job 'b'"):
            await retry(conn, canceled.org, task["id"])


async def test_canceled_tasks_with_partitions_left_stale_are_retried_in_batches(
    database: Database, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(retries, "_RETRIED_AT_ONCE", 2)
    monkeypatch.setattr(cancellation, "_CANCELED_AT_ONCE", 3)
    world = await World.made(database, source("a"), job("b", "a"), job("c", "a"))
    await world.changed("a", "2013-02-01..2013-02-05")
    async with world.conn() as conn:
        assert await cancel_all(conn, world.org, [TaskStatus.FAILED], "b") == 0
        assert await cancel_all(conn, world.org, [TaskStatus.QUEUED], "b") == 5
    await world.changed("a", "2013-02-01")
    async with world.conn() as conn:
        total = await retries.retry_canceled(conn, world.org, "b")
        assert (total.queued, total.requested, total.covered) == (0, 4, 0)
        assert await retries.retry_canceled(conn, world.org, "c") == retries.Retried()
    await world.plan()
    assert len((await world.tasks("b"))["queued"]) == 5


async def test_all_unfinished_tasks_are_canceled_with_their_dependents(database: Database) -> None:
    world = await World.made(database, source("a"), job("b", "a"), job("c", "b"))
    await world.changed("a", "2013-02-01..2013-02-03")
    await world.claim(1)
    async with world.conn() as conn:
        assert await cancel_all(conn, world.org, UNFINISHED_STATUSES, by="ann") == 6
    assert {*await world.tasks()} == {"canceled"}
    rows = await world.rows("SELECT DISTINCT decided_by FROM stale_decisions")
    assert [row["decided_by"] for row in rows] == ["ann"]


async def test_dependents_of_tasks_canceled_together_proceed(database: Database) -> None:
    world = await World.made(database, source("a"), job("b", "a"), job("c", "b"))
    await world.changed("a", DAY)
    async with world.conn() as conn:
        assert await cancel_all(conn, world.org, [TaskStatus.QUEUED]) == 1
    assert await world.tasks("c") == {"skipped": [f"c[{DAY}]"]}


async def test_a_run_of_no_known_partition_is_not_retried_beside_a_newer_one(
    database: Database,
) -> None:
    """Neither task names a partition: a job that finds its partitions has none before its runs."""
    world = await World.made(database, source("a"), finding_job("f", "a"))
    await world.changed("a", DAY)
    task = await world.task("f[*]", "queued")
    async with world.conn() as conn:
        await cancel(conn, world.org, task["id"])
    await world.changed("a", DAY)
    async with world.conn() as conn:
        with pytest.raises(InvalidInput, match="nothing is left to retry"):
            await retry(conn, world.org, task["id"])
