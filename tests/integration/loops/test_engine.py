"""The loops of an engine."""

import asyncio

import structlog

from engine.loops.engine import Engine
from engine.settings import Settings
from engine.store.database import Database
from tests.support.migrations import until
from tests.support.worlds import World, job, source

DAY = "2013-02-13"


async def test_a_lost_partition_is_logged_with_plain_values(database: Database) -> None:
    world = await World.made(database, source("a"), job("b", "a"))
    await world.changed("a", DAY)
    await world.run()
    await world.changed("a", DAY)
    await world.rows("DELETE FROM tasks WHERE status = 'queued' RETURNING id")
    stop = asyncio.Event()
    with structlog.testing.capture_logs() as logs:

        async def is_logged() -> bool:
            return any(log["log_level"] == "error" for log in logs)

        async with asyncio.TaskGroup() as group:
            group.create_task(Engine(database, world.org, Settings()).run(stop))
            await until(is_logged)
            stop.set()
    (entry,) = [log for log in logs if log["log_level"] == "error"]
    assert {type(value) for value in entry.values()} <= {str, tuple, type(None)}
    (reason,) = entry["reasons"]
    assert {type(value) for value in reason.values()} == {str}
    assert (entry["verdict"], reason["rule"], reason["dataset"]) == ("lost", "input changed", "a")
