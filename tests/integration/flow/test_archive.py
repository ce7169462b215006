"""Finished tasks move to the history; everything about them reads the same there."""

from datetime import UTC, datetime
from typing import Any

import msgspec

from engine.flow.execution.operator_actions import cancel
from engine.flow.retention.archive import archive
from engine.service.ids import task_id
from engine.service.queries.explain_partition import explain_partition
from engine.service.queries.explain_task import explain_task
from engine.service.queries.progress import progress
from engine.service.queries.status import status
from engine.service.queries.tasks import tasks
from engine.store.database import Database
from tests.support.worlds import World, job, source

DAY, OTHER = "2013-02-13", "2013-02-14"


async def _archive(world: World, seconds: float = 0) -> int:
    async with world.conn() as conn:
        return await archive(conn, world.org, seconds)


async def _worked(database: Database) -> tuple[World, Any]:
    """Succeeded, skipped and canceled tasks of a chain."""
    world = await World.made(database, source("a"), job("b", "a"), job("c", "b"))
    first = await world.changed("a", DAY, OTHER)
    await world.run()
    await world.changed("a", DAY)
    await world.run(same=["b"])
    await world.changed("a", OTHER)
    task = await world.task(f"b[{OTHER}]", "queued")
    async with world.conn() as conn:
        await cancel(conn, world.org, task["id"], by="ann")
    return world, first


async def _views(world: World) -> Any:
    listed = await tasks(world.caller, world.service)
    partition = await explain_partition(world.caller, world.service, "c", DAY)
    invalidations = [
        row["id"] for row in await world.rows("SELECT id FROM data_invalidations ORDER BY id")
    ]
    return msgspec.to_builtins(
        [
            listed,
            [await explain_task(world.caller, world.service, str(task.id)) for task in listed],
            await tasks(world.caller, world.service, statuses=["skipped"]),
            await tasks(world.caller, world.service, job="b", partition=OTHER),
            partition,
            await progress(world.caller, world.service, invalidations),
            (await status(world.caller, world.service)).tasks,
        ]
    )


async def test_finished_tasks_read_the_same_in_the_history(database: Database) -> None:
    world, _ = await _worked(database)
    before = await _views(world)
    finished = await world.rows(
        "SELECT id FROM tasks WHERE status IN ('succeeded', 'skipped', 'canceled')"
    )
    assert await _archive(world) == len(finished)
    assert (
        await world.rows("SELECT id FROM tasks WHERE id = ANY(%s)", [r["id"] for r in finished])
        == []
    )
    assert await _views(world) == before
    async with world.conn() as conn:
        for row in finished:
            assert await task_id(conn, world.org, str(row["id"])[-8:]) == row["id"]


async def test_work_continues_after_the_blockers_are_archived(database: Database) -> None:
    world = await World.made(database, source("a"), job("b", "a"), job("c", "b"))
    await world.changed("a", DAY)
    await world.finish((await world.claim(limit=1))[0])
    assert await _archive(world) == 1
    assert await world.run() == [f"c[{DAY}]"]
    assert await _archive(world) == 1
    view = await explain_task(
        world.caller, world.service, str((await tasks(world.caller, world.service))[0].id)
    )
    assert [blocker.job for blocker in view.blockers] == ["b"]


async def test_unfinished_and_recent_tasks_stay(database: Database) -> None:
    world = await World.made(database, source("a"), job("b", "a"), job("c", "b"))
    await world.changed("a", DAY)
    await world.finish((await world.claim(limit=1))[0])
    assert await _archive(world, 60) == 0
    assert await _archive(world) == 1
    assert [row["status"] for row in await world.rows("SELECT status FROM tasks")] == ["queued"]


async def test_each_month_has_a_partition(database: Database) -> None:
    world = await World.made(database, source("a"), job("b", "a"))
    await world.changed("a", DAY)
    await world.run()
    await _archive(world)
    names = [
        row["name"]
        for row in await world.rows(
            "SELECT inhrelid::regclass::text AS name FROM pg_inherits "
            "WHERE inhparent = 'tasks_history'::regclass"
        )
    ]
    month = datetime.now(UTC).strftime("%Y_%m")
    assert f"tasks_history_{month}" in {name.removeprefix("knockon.") for name in names}
