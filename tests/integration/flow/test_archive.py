"""Finished tasks move to the history; everything about them reads the same there."""

import asyncio
from datetime import UTC, datetime
from typing import Any

import msgspec
import psycopg
import pytest
from psycopg import sql

from consumers.manual.request import Requested, invalidate
from engine.errors import InvalidInput
from engine.flow.execution.cancel import cancel
from engine.flow.planning.approve import reject
from engine.flow.retention.archive import TASKS, archive
from engine.flow.retention.expire import expire
from engine.model.event import SourceEvent
from engine.service.ids import invalidation_id, plan_id, task_id
from engine.service.queries.dead_letters import dead_letters
from engine.service.queries.explain_partition import explain_partition
from engine.service.queries.explain_task import explain_task
from engine.service.queries.invalidations import invalidations
from engine.service.queries.plans import plans
from engine.service.queries.progress import progress
from engine.service.queries.status import status
from engine.service.queries.tasks import tasks
from engine.store.database import Database
from engine.store.run import execute
from tests.support.worlds import World, job, source

DAY, OTHER = "2013-02-13", "2013-02-14"


async def _archive(world: World, seconds: float = 0) -> int:
    async with world.conn() as conn:
        return await archive(conn, world.org, seconds)


async def _worked(database: Database) -> tuple[World, Any]:
    """Succeeded, skipped, canceled and unfinished tasks of a chain."""
    world = await World.made(database, source("a"), job("b", "a"), job("c", "b"))
    first = await world.changed("a", DAY, OTHER)
    await world.run()
    await world.changed("a", DAY)
    await world.run(same=["b"])
    await world.changed("a", OTHER)
    task = await world.task(f"b[{OTHER}]", "queued")
    async with world.conn() as conn:
        await cancel(conn, world.org, task["id"], by="ann")
    await world.changed("a", DAY)
    return world, first


async def _views(world: World) -> Any:
    listed = await tasks(world.caller, world.service)
    partition = await explain_partition(world.caller, world.service, "c", DAY)
    ids = [row["id"] for row in await world.rows("SELECT id FROM all_invalidations ORDER BY id")]
    return msgspec.to_builtins(
        [
            listed,
            [await explain_task(world.caller, world.service, str(task.id)) for task in listed],
            await tasks(world.caller, world.service, statuses=["skipped"]),
            await tasks(world.caller, world.service, job="b", partition=OTHER),
            partition,
            await progress(world.caller, world.service, ids),
            await plans(world.caller, world.service),
            await invalidations(world.caller, world.service),
            (await status(world.caller, world.service)).tasks,
        ]
    )


async def test_finished_tasks_read_the_same_in_the_history(database: Database) -> None:
    world, _ = await _worked(database)
    before = await _views(world)
    assert await _archive(world) > 0
    for table, left in (("tasks", 2), ("plans", 0), ("data_invalidations", 0)):
        assert len(await world.rows(f"SELECT FROM {table}")) == left, table
    assert await _views(world) == before


@pytest.mark.parametrize(
    ("table", "find"),
    [("tasks", task_id), ("plans", plan_id), ("data_invalidations", invalidation_id)],
)
async def test_archived_work_is_found_by_the_ending_of_its_id(
    database: Database, table: str, find: Any
) -> None:
    world, _ = await _worked(database)
    await _archive(world)
    (row,) = await world.rows(f"SELECT id FROM {table}_history ORDER BY id LIMIT 1")
    async with world.conn() as conn:
        assert await find(conn, world.org, str(row["id"])[-8:].upper()) == row["id"]


async def test_work_continues_after_the_blockers_are_archived(database: Database) -> None:
    world = await World.made(database, source("a"), job("b", "a"), job("c", "b"))
    await world.changed("a", DAY)
    await world.finish((await world.claim(limit=1))[0])
    await _archive(world)
    assert await world.run() == [f"c[{DAY}]"]
    await _archive(world)
    assert await world.rows("SELECT FROM tasks") == []
    view = await explain_task(
        world.caller, world.service, str((await tasks(world.caller, world.service))[0].id)
    )
    assert [blocker.job for blocker in view.blockers] == ["b"]


async def test_unfinished_and_recent_tasks_stay(database: Database) -> None:
    world = await World.made(database, source("a"), job("b", "a"), job("c", "b"))
    await world.changed("a", DAY)
    await world.finish((await world.claim(limit=1))[0])
    assert await _archive(world, 60) == 0
    await _archive(world)
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


async def test_a_request_is_repeated_after_its_invalidation_was_archived(
    database: Database,
) -> None:
    world = await World.made(database, source("a"), job("b", "a"))
    event = SourceEvent(dataset="a", partitions=(DAY,), id="once")
    async with world.conn() as conn:
        first = await invalidate(conn, world.org, event)
    await world.plan()
    await world.run()
    await _archive(world)
    async with world.conn() as conn:
        again = await invalidate(conn, world.org, event)
        assert again == Requested(first.invalidations, is_new=False)
        with pytest.raises(InvalidInput, match="used before with a different request"):
            await invalidate(
                conn, world.org, SourceEvent(dataset="a", partitions=(OTHER,), id="once")
            )


async def test_an_applied_plan_in_the_history_cannot_be_rejected(database: Database) -> None:
    world = await World.made(database, source("a"), job("b", "a"))
    await world.changed("a", DAY)
    await _archive(world)
    plan = (await world.rows("SELECT id FROM plans_history"))[-1]
    async with world.conn() as conn:
        with pytest.raises(InvalidInput, match="has already been applied"):
            await reject(conn, world.org, plan["id"])


async def test_rows_of_the_history_have_the_columns_of_the_tables(database: Database) -> None:
    """Rows are moved as a whole."""
    world = await World.made(database, source("a"))
    for table in ("plans", "data_invalidations", "dead_letters", "task_attempts"):
        names = [
            await world.rows(
                "SELECT attname, atttypid FROM pg_attribute "
                "WHERE attrelid = %s::regclass AND attnum > 0 AND NOT attisdropped ORDER BY attnum",
                f"knockon.{relation}",
            )
            for relation in (table, f"{table}_history")
        ]
        assert names[0] == names[1]


async def test_the_role_of_the_engine_keeps_the_history(database: Database) -> None:
    """It may not create or drop tables itself."""
    world = await World.made(database, source("a"), job("b", "a"))
    await world.changed("a", DAY)
    await world.run()
    async with world.conn() as conn:
        (row,) = await world.rows(
            "SELECT pg_get_userbyid(nspowner) AS owner FROM pg_namespace WHERE nspname = 'knockon'"
        )
        role = sql.Identifier(row["owner"].replace("knockon_owner_", "knockon_engine_"))
        await conn.execute(sql.SQL("SET ROLE {}").format(role))
        try:
            assert await archive(conn, world.org, 0) > 0
            assert len(await expire(conn, -70, 1, 1, 1)) == 4
            with pytest.raises(psycopg.errors.InsufficientPrivilege):
                await conn.execute(b"CREATE TABLE knockon.mine ()")
        finally:
            await conn.execute(b"RESET ROLE")


async def test_closed_dead_letters_are_listed_from_the_history(database: Database) -> None:
    world = await World.made(database, source("a"))
    for n, closed in (1, "NULL"), (2, "now() - interval '1 s'"):
        await world.rows(
            "INSERT INTO dead_letters (id, org_id, consumer, stream, position, error, closed_at)"
            f" SELECT first_id_at(now() - {n} * interval '1 h'), %s, 'c', 's', '{n}', 'bad',"
            f" {closed} RETURNING id",
            world.org.id,
        )
    before = await dead_letters(world.caller, world.service, with_done=True)
    assert await _archive(world) > 0
    assert len(await world.rows("SELECT FROM dead_letters")) == 1
    assert await dead_letters(world.caller, world.service, with_done=True) == before
    assert len(before) == 2


async def test_two_archivers_add_the_same_months(database: Database) -> None:
    """One has finished tasks of two months, as after an upgrade, and the other of the later one."""
    world = await World.made(database, source("a"))
    (row,) = await world.rows(
        "SELECT now() - interval '2 months' AS first, now() - interval '1 month' AS second"
    )
    async with world.conn() as one, world.conn() as two:

        async def add_second() -> None:
            async with two.transaction():
                await execute(two, "history.add_partition", history=TASKS, moment=row["second"])

        async with one.transaction():
            await execute(one, "history.add_partition", history=TASKS, moment=row["first"])
            waiting = asyncio.create_task(add_second())
            await asyncio.sleep(0.5)
            await execute(one, "history.add_partition", history=TASKS, moment=row["second"])
        await waiting
    (months,) = await world.rows(
        "SELECT count(*) AS n FROM pg_inherits WHERE inhparent = 'tasks_history'::regclass"
    )
    assert months["n"] == 2


async def test_events_that_name_an_earlier_dataset_version_do_not_accumulate(
    database: Database,
) -> None:
    world = await World.made(database, source("a"), job("b", "a"))
    (version,) = await world.rows(
        "SELECT v.id FROM dataset_versions v JOIN datasets d ON d.id = v.dataset_uuid "
        "WHERE d.name = 'a'"
    )
    moved = source("a")
    moved["outputs"][0]["storage"] = {"table": "elsewhere"}
    await world.deploy(moved, job("b", "a"))
    for _ in range(3):
        await world.changed("a", DAY, version=str(version["id"]))
    await asyncio.sleep(0.01)
    await _archive(world)
    outcomes = await world.rows("SELECT DISTINCT outcome FROM data_invalidations")
    assert {"outcome": "not_current"} not in outcomes
