"""The output of a running attempt is stored with the heartbeats, and survives its worker."""

import asyncio
from contextlib import suppress
from typing import Any

import pytest

from engine.flow.execution.attempts import store_running_logs
from engine.flow.execution.reap import reap
from engine.flow.retention.archive import archive
from engine.service.queries.attempts import task_log
from engine.store.database import Database
from engine.worker import Client
from tests.support.workers import worker
from tests.support.worlds import World, job, source

DAY = "2013-02-13"
_COMMAND = "echo out; echo bad >&2; sleep 600"


async def _world(database: Database, **more: Any) -> World:
    world = await World.made(database, source("orders"), job("made", "orders", **more))
    await world.changed("orders", DAY)
    return world


async def _logs(world: World) -> list[str]:
    (row,) = await world.rows("SELECT id FROM tasks")
    view = await task_log(world.caller, world.service, str(row["id"]))
    return [attempt.log for attempt in view.attempts]


async def _until_logged(world: World, text: str) -> None:
    async with asyncio.timeout(30):
        while (await _logs(world))[-1:] != [text]:  # noqa: ASYNC110 the database has no signal
            await asyncio.sleep(0.05)


async def _expire(world: World) -> None:
    await world.rows("UPDATE tasks SET lease_expires_at = now() - interval '1 s' RETURNING id")
    async with world.conn() as conn:
        assert await reap(conn, world.org) == 1


async def test_the_output_of_a_running_command_is_shown(database: Database) -> None:
    world = await _world(database, operator="shell", config={"command": _COMMAND})
    running = asyncio.create_task(worker(world, lease_seconds=1).run(asyncio.Event()))
    await _until_logged(world, "out\n--- stderr ---\nbad\n")
    running.cancel()
    with suppress(asyncio.CancelledError):
        await running


async def test_each_heartbeat_stores_the_output_so_far(database: Database) -> None:
    world = await _world(database)
    client = Client(database, world.org, "mine", runtimes=("local",), lease_seconds=1)
    (lease,) = await client.claim()
    lines = ["first\n"]
    async with client.running(lease, lambda: "".join(lines)):
        await _until_logged(world, "first\n")
        lines.append("second\n")
        await _until_logged(world, "first\nsecond\n")
    await client.complete(lease, log="all of it")
    await client.close()
    assert await _logs(world) == ["all of it"]


async def test_an_attempt_keeps_the_log_of_a_worker_that_died(database: Database) -> None:
    world = await _world(database)
    (lease,) = await world.claim()
    async with world.conn() as conn:
        await store_running_logs(conn, [(lease, "so far")])
    await _expire(world)
    assert await _logs(world) == ["so far"]


async def test_a_new_attempt_has_no_log_of_the_one_before(database: Database) -> None:
    world = await _world(database)
    (lease,) = await world.claim(worker="w1")
    async with world.conn() as conn:
        await store_running_logs(conn, [(lease, "so far")])
    await _expire(world)
    await world.rows("UPDATE tasks SET next_retry_at = NULL RETURNING id")
    (second,) = await world.claim(worker="w2")
    assert await _logs(world) == ["so far", ""]
    async with world.conn() as conn:
        await store_running_logs(conn, [(lease, "late"), (second, "anew")])
    assert await _logs(world) == ["so far", "anew"]


async def test_logs_of_ended_attempts_are_removed(database: Database) -> None:
    world = await _world(database)
    (lease,) = await world.claim()
    async with world.conn() as conn:
        await store_running_logs(conn, [(lease, "so far")])
        await archive(conn, world.org, 3600)
        assert await world.rows("SELECT log FROM running_logs") == [{"log": "so far"}]
    await _expire(world)
    async with world.conn() as conn:
        await archive(conn, world.org, 3600)
    assert await world.rows("SELECT FROM running_logs") == []


@pytest.mark.parametrize("text", ["nul \0 and \ud800", "x" * 100_000])
async def test_a_log_is_bounded_and_cleaned(database: Database, text: str) -> None:
    world = await _world(database)
    (lease,) = await world.claim()
    async with world.conn() as conn:
        await store_running_logs(conn, [(lease, text)])
    (log,) = await _logs(world)
    assert len(log) <= 65_536
    assert "\0" not in log


async def test_an_error_of_a_log_does_not_cost_the_lease(database: Database) -> None:
    world = await _world(database)
    client = Client(database, world.org, "mine", runtimes=("local",), lease_seconds=1)
    (lease,) = await client.claim()

    def failing() -> str:
        raise ValueError("no log")

    async with client.running(lease, failing):
        await asyncio.sleep(1.5)
        async with world.conn() as conn:
            assert await reap(conn, world.org) == 0
    await client.complete(lease)
    await client.close()
