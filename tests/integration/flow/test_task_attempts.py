"""Each attempt at a task is recorded when it ends, with its outcome, error and log."""

from datetime import timedelta
from typing import Any

import msgspec
import psycopg
import pytest

from engine.errors import LeaseLost, UnknownName
from engine.flow.execution.attempts import add_log
from engine.flow.execution.cancel import cancel
from engine.flow.execution.complete import complete_all
from engine.flow.execution.fail import fail
from engine.flow.execution.reap import reap
from engine.flow.execution.retry import retry
from engine.flow.retention.archive import archive
from engine.flow.retention.expire import expire
from engine.model.task import MAX_LOG_BYTES, Completion, Lease, Output
from engine.service.queries.attempts import TaskLog, task_log
from engine.service.queries.explain_task import explain_task
from engine.store.database import Database
from tests.support.worlds import World, job, source

DAY, OTHER = "2013-02-13", "2013-02-14"


@pytest.fixture
async def world(database: Database) -> World:
    world = await World.made(database, source("a"), job("b", "a", max_attempts=2))
    await world.changed("a", DAY)
    return world


async def _claim(world: World, worker: str = "w1") -> Lease:
    await world.rows("UPDATE tasks SET next_retry_at = NULL RETURNING id")
    (lease,) = await world.claim(worker=worker)
    return lease


async def _fail(world: World, lease: Lease, error: str = "it broke", **more: Any) -> None:
    async with world.conn() as conn:
        await fail(conn, world.org, lease, error, **more)


async def _log(world: World, number: int | None = None) -> TaskLog:
    (row,) = await world.rows("SELECT id FROM all_tasks ORDER BY id DESC LIMIT 1")
    return await task_log(world.caller, world.service, str(row["id"]), number)


async def _outcomes(world: World) -> list[tuple[int, str | None]]:
    return [(each.number, each.outcome) for each in (await _log(world)).attempts]


async def _archive(world: World) -> None:
    async with world.conn() as conn:
        while await archive(conn, world.org, 0):
            pass


async def test_a_running_attempt_has_no_outcome(world: World) -> None:
    await _claim(world, "w7")
    (attempt,) = (await _log(world)).attempts
    assert (attempt.number, attempt.outcome, attempt.worker_id) == (1, None, "w7")
    assert attempt.ended_at is None


async def test_each_attempt_has_its_outcome_error_and_log(world: World) -> None:
    await _fail(world, await _claim(world), "no luck", log="tried")
    await world.finish(await _claim(world, "w2"), log="done")
    first, second = (await _log(world)).attempts
    assert (first.number, first.outcome, first.worker_id) == (1, "failed", "w1")
    assert (first.error_message, first.log) == ("no luck", "tried")
    assert (second.number, second.outcome, second.worker_id) == (2, "succeeded", "w2")
    assert (second.error_message, second.log) == (None, "done")
    assert second.ended_at is not None
    assert first.started_at < second.started_at < second.ended_at


async def test_completions_of_a_batch_record_their_own_logs(database: Database) -> None:
    world = await World.made(database, source("a"), job("b", "a"))
    await world.changed("a", DAY, OTHER)
    leases = await world.claim()
    async with world.conn() as conn:
        await complete_all(
            conn,
            world.org,
            [
                Completion(lease, (Output("b", lease.block_key),), log=f"built {lease.block_key}")
                for lease in leases
            ],
        )
    rows = await world.rows("SELECT a.log FROM task_attempts a ORDER BY a.log")
    assert [row["log"] for row in rows] == [f"built {DAY}", f"built {OTHER}"]


async def test_an_expired_lease_ends_the_attempt(world: World) -> None:
    lease = await _claim(world)
    await world.rows("UPDATE tasks SET lease_expires_at = now() - interval '1 s' RETURNING id")
    async with world.conn() as conn:
        assert await reap(conn, world.org) == 1
    (attempt,) = (await _log(world)).attempts
    assert attempt.outcome == "lease_expired"
    assert "sent no heartbeat" in (attempt.error_message or "")
    with pytest.raises(LeaseLost):
        await world.finish(lease, log="too late")
    assert await _outcomes(world) == [(1, "lease_expired")]


async def test_canceling_ends_the_running_attempt(world: World) -> None:
    lease = await _claim(world)
    async with world.conn() as conn:
        await cancel(conn, world.org, lease.task_id)
    assert await _outcomes(world) == [(1, "canceled")]


async def test_an_attempt_ended_by_others_gets_the_log_of_its_run(world: World) -> None:
    lease = await _claim(world)
    async with world.conn() as conn:
        await add_log(conn, lease, "still running")
    assert [each.log for each in (await _log(world)).attempts] == [""]
    await world.rows("UPDATE tasks SET lease_expires_at = now() - interval '1 s' RETURNING id")
    async with world.conn() as conn:
        await reap(conn, world.org)
        await add_log(conn, lease, "stopped")
    await _fail(world, await _claim(world, "w2"), log="failed")
    async with world.conn() as conn:
        await add_log(conn, lease, "stopped later")
    assert [each.log for each in (await _log(world)).attempts] == ["stopped later", "failed"]


async def test_canceling_a_failed_task_adds_no_attempt(world: World) -> None:
    lease = await _claim(world)
    await _fail(world, lease, retryable=False)
    async with world.conn() as conn:
        await cancel(conn, world.org, lease.task_id)
    assert await _outcomes(world) == [(1, "failed")]


async def test_a_deploy_that_removes_the_job_ends_the_running_attempt(database: Database) -> None:
    world = await World.made(database, source("a"), job("b", "a"), job("c", "a"))
    await world.changed("a", DAY, OTHER)
    (lease,) = [each for each in await world.claim(limit=2) if each.block_key == DAY][:1]
    running = len(await world.rows("SELECT FROM tasks WHERE status = 'running'"))
    await world.deploy(source("a"))
    rows = await world.rows("SELECT task_id, outcome FROM task_attempts")
    assert [row["outcome"] for row in rows] == ["canceled"] * running
    assert lease.task_id in {row["task_id"] for row in rows}
    assert len(await world.rows("SELECT FROM tasks WHERE status = 'canceled'")) == 4


async def test_a_successor_takes_over_and_the_attempt_stays(world: World) -> None:
    lease = await _claim(world)
    await world.changed("a", DAY)
    await _fail(world, lease)
    view = await task_log(world.caller, world.service, str(lease.task_id))
    assert (view.status, [each.outcome for each in view.attempts]) == ("canceled", ["failed"])


@pytest.mark.parametrize("by", ["retry", "plan"])
async def test_numbers_continue_after_a_failed_task_is_queued_again(world: World, by: str) -> None:
    for _ in range(2):
        lease = await _claim(world)
        await _fail(world, lease)
    assert (await world.tasks())["failed"] == [f"b[{DAY}]"]
    if by == "retry":
        async with world.conn() as conn:
            await retry(conn, world.org, lease.task_id)
    else:
        await world.changed("a", DAY)
    await _fail(world, await _claim(world))
    await world.finish(await _claim(world))
    assert await _outcomes(world) == [
        (1, "failed"),
        (2, "failed"),
        (3, "failed"),
        (4, "succeeded"),
    ]


async def test_attempts_are_read_the_same_in_the_history(world: World) -> None:
    await _fail(world, await _claim(world), "no luck", log="tried")
    await world.finish(await _claim(world), log="done")
    before = await _log(world)
    await _archive(world)
    assert await world.rows("SELECT FROM task_attempts") == []
    assert await _log(world) == before


async def test_attempts_at_unfinished_tasks_stay(world: World) -> None:
    await _fail(world, await _claim(world))
    await _archive(world)
    assert len(await world.rows("SELECT FROM task_attempts")) == 1


async def test_attempts_expire_with_their_month(world: World) -> None:
    await world.finish(await _claim(world), log="done")
    await _archive(world)
    async with world.conn() as conn:
        assert "task_attempts_history" not in " ".join(await expire(conn, 0, 1, 1, 1))
        assert "task_attempts_history" in " ".join(await expire(conn, -70, 1, 1, 1))
    # The task explains its partition, and is kept.
    view = await _log(world)
    assert (view.status, view.attempts) == ("succeeded", [])


async def test_months_of_other_tables_are_not_dropped_as_a_whole(world: World) -> None:
    with pytest.raises(psycopg.errors.RaiseException, match="not dropped as a whole"):
        await world.rows("SELECT drop_history_month('tasks_history', now())")


async def test_one_attempt_is_selected_by_its_number(world: World) -> None:
    await _fail(world, await _claim(world), log="first")
    await _claim(world)
    assert [each.log for each in (await _log(world, 1)).attempts] == ["first"]
    with pytest.raises(UnknownName, match="no attempt 3 at task"):
        await _log(world, 3)


async def test_a_task_lists_its_attempts_without_logs(world: World) -> None:
    await _fail(world, await _claim(world), "no luck", log="tried")
    view = await _log(world)
    task = await explain_task(world.caller, world.service, str(view.id))
    (attempt,) = msgspec.to_builtins(task)["attempts"]
    assert attempt["error_message"] == "no luck"
    assert "log" not in attempt


async def test_the_whole_error_is_recorded(world: World) -> None:
    error = "one line\n" * 3000
    await _fail(world, await _claim(world), error)
    assert (await _log(world)).attempts[0].error_message == error


@pytest.mark.parametrize("text", ["\0", "\ud83d", "€", "x"])
async def test_a_log_is_bounded_and_cleaned(world: World, text: str) -> None:
    await _fail(world, await _claim(world), log=text * 300_000)
    await world.finish(await _claim(world), log=text * 300_000)
    for attempt in (await _log(world)).attempts:
        note, log = attempt.log.split("\n")
        assert note.endswith("earlier bytes are omitted]")
        assert len(set(log)) == 1
        assert MAX_LOG_BYTES - 100 < len(attempt.log.encode()) <= MAX_LOG_BYTES


async def test_times_are_those_of_the_attempt(world: World) -> None:
    await _fail(world, await _claim(world))
    await world.finish(await _claim(world))
    first, second = (await _log(world)).attempts
    for attempt in (first, second):
        assert attempt.ended_at is not None
        assert timedelta(0) <= attempt.ended_at - attempt.started_at < timedelta(minutes=1)
    (task,) = await world.rows("SELECT started_at, completed_at FROM tasks")
    assert (second.started_at, second.ended_at) == (task["started_at"], task["completed_at"])
