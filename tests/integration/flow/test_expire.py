"""History ends after its retention period; what explains an existing partition stays."""

import asyncio
from contextlib import suppress

import msgspec
import psycopg
import pytest

from consumers.manual.request import invalidate
from engine.flow.planning.approve import reject
from engine.flow.retention.archive import archive
from engine.flow.retention.expire import expire
from engine.model.event import SourceEvent
from engine.service.queries.explain_partition import explain_partition
from engine.service.queries.explain_task import explain_task
from engine.store.database import Database
from engine.store.orgs import set_setting
from tests.support.worlds import World, job, source

DAY = "2013-02-13"
_TABLES = ("tasks_history", "plans_history", "data_invalidations_history", "task_inputs")
_FUTURE = -70.0
"""Days; the current month is over."""


async def _archive(world: World, seconds: float = 0) -> None:
    async with world.conn() as conn:
        while await archive(conn, world.org, seconds):
            pass


async def _expire(world: World, days: float = _FUTURE, key_days: float = 1) -> None:
    async with world.conn() as conn:
        while await expire(conn, days, key_days, key_days, days):
            pass


async def _sizes(world: World) -> list[int]:
    counts = [await world.rows(f"SELECT count(*) AS n FROM {table}") for table in _TABLES]
    return [row["n"] for (row,) in counts]


async def _built(database: Database, times: int) -> World:
    world = await World.made(database, source("a"), job("b", "a"))
    for _ in range(times):
        await world.changed("a", DAY)
        await world.run()
    await _archive(world)
    return world


async def test_the_run_behind_a_partition_stays_with_its_plan_and_invalidations(
    database: Database,
) -> None:
    world = await _built(database, 3)
    partition = await explain_partition(world.caller, world.service, "b", DAY)
    (last,) = await world.rows("SELECT id FROM tasks_history ORDER BY id DESC LIMIT 1")
    task = await explain_task(world.caller, world.service, str(last["id"]))
    await _expire(world)
    assert await _sizes(world) == [1, 1, 1, 1]
    assert await explain_partition(world.caller, world.service, "b", DAY) == partition
    kept = await explain_task(world.caller, world.service, str(last["id"]))
    assert kept == msgspec.structs.replace(task, attempts=())


async def test_the_current_month_stays(database: Database) -> None:
    world = await _built(database, 3)
    before = await _sizes(world)
    await _expire(world, 0)
    assert await _sizes(world) == before


@pytest.mark.parametrize("days", [365 * 50, 365 * 60, 365 * 1000, 1e7, float("inf")])
async def test_history_is_kept_for_longer_than_the_time_since_1970(
    database: Database, days: float
) -> None:
    world = await _built(database, 3)
    before = await _sizes(world)
    await _expire(world, days=days)
    assert await _sizes(world) == before


async def test_history_expires_while_keys_are_kept_without_end(database: Database) -> None:
    world = await _built(database, 3)
    await _expire(world, key_days=float("inf"))
    assert await _sizes(world) == [1, 1, 1, 1]


async def test_work_is_archived_later_than_the_time_since_1970(database: Database) -> None:
    world = await World.made(database, source("a"), job("b", "a"))
    await world.changed("a", DAY)
    before = await world.rows("SELECT id FROM plans ORDER BY id")
    await _archive(world, seconds=86400 * 365 * 60)
    assert await world.rows("SELECT id FROM plans ORDER BY id") == before != []


async def test_deploys_do_not_grow_history_without_end(database: Database) -> None:
    """Runs behind partitions of earlier dataset versions are removed."""
    world = await World.made(database, source("a"), job("b", "a"), job("c", "a"))
    await world.changed("a", DAY)
    sizes = []
    for n in range(8):
        await world.deploy(source("a"), job("b", "a", config={"n": n}), job("c", "a"))
        await world.run()
        await _archive(world)
        await _expire(world, _FUTURE - 31 * n)
        sizes.append(await _sizes(world))
    assert sizes[7] <= sizes[3]
    assert sizes[7][0] == 2


async def test_engines_with_different_retention_periods_examine_a_month_once(
    database: Database,
) -> None:
    world = await _built(database, 2)
    await _expire(world, _FUTURE)
    await _expire(world, _FUTURE - 31)
    async with world.conn() as conn:
        again = [await expire(conn, days, 1, 1, 1) for days in (_FUTURE, _FUTURE - 31) * 2]
    assert again == [[], [], [], []]


async def test_kept_rows_end_a_month_after_their_partition_was_rebuilt(database: Database) -> None:
    world = await _built(database, 2)
    await _expire(world)
    await world.rows("UPDATE partition_versions SET task_id = NULL RETURNING partition_key")
    await _expire(world)
    assert await _sizes(world) == [1, 1, 1, 1]
    await _expire(world, _FUTURE - 31)
    assert await _sizes(world) == [0, 0, 0, 0]


async def test_the_last_run_of_a_single_run_job_stays(database: Database) -> None:
    world = await World.made(database, source("a"), job("b", "a", execution_strategy="Full"))
    for _ in range(2):
        await world.changed("a", DAY)
        await world.run()
    await _archive(world)
    await _expire(world)
    assert (await _sizes(world))[:3] == [1, 1, 1]


async def test_idempotency_keys_have_a_retention_period_of_their_own(database: Database) -> None:
    world = await World.made(database, source("a"), job("b", "a"))
    event = SourceEvent(dataset="a", partitions=(DAY,), id="once")

    async def is_new() -> bool:
        async with world.conn() as conn:
            return (await invalidate(conn, world.org, event)).is_new

    assert await is_new()
    await _expire(world, 365, 0)
    assert not await is_new()
    await world.plan()
    await _archive(world)
    await _expire(world, 365, 1)
    assert not await is_new()
    await _expire(world, 365, 0)
    assert await is_new()


async def test_rows_written_while_a_month_is_removed_are_kept(database: Database) -> None:
    """A reader delays the removal until the rows have been copied."""
    world = await _built(database, 1)
    await world.changed("a", DAY)
    await world.run()
    async with world.conn() as reader, reader.transaction():
        await reader.execute(b"SELECT FROM tasks_history")
        expiring = asyncio.create_task(_expire(world))
        await asyncio.sleep(0.5)
        archiving = asyncio.create_task(_archive(world))
        await asyncio.sleep(0.5)
    await archiving
    with suppress(psycopg.errors.LockNotAvailable):
        await expiring
    await _expire(world)
    assert (await _sizes(world))[0] == 1


_DATE_BACK = """
CREATE OR REPLACE FUNCTION pg_temp.dated_back(id uuid, months int) RETURNS uuid LANGUAGE sql
RETURN CASE WHEN id < knockon.first_id_at(date_trunc('month', now(), 'UTC')) THEN id
    ELSE overlay(id::text PLACING left(knockon.first_id_at(date_trunc('month', now(), 'UTC')
        - months * interval '1 month')::text, 13) FROM 1 FOR 13)::uuid END;
CREATE OR REPLACE FUNCTION pg_temp.dated_back(ids uuid[], months int) RETURNS uuid[] LANGUAGE sql
RETURN ARRAY(SELECT pg_temp.dated_back(id, months) FROM unnest(ids) AS id);
SELECT knockon.add_history_partition(h::regclass, now() - MONTHS * interval '1 month')
FROM unnest('{tasks_history,plans_history,data_invalidations_history}'::text[]) AS h;
UPDATE tasks_history SET id = pg_temp.dated_back(id, MONTHS),
    plan_ids = pg_temp.dated_back(plan_ids, MONTHS);
UPDATE plans_history SET id = pg_temp.dated_back(id, MONTHS),
    invalidation_ids = pg_temp.dated_back(invalidation_ids, MONTHS);
UPDATE data_invalidations_history SET id = pg_temp.dated_back(id, MONTHS),
    plan_id = pg_temp.dated_back(plan_id, MONTHS);
SELECT knockon.add_history_partition(
    'knockon.task_attempts_history', now() - MONTHS * interval '1 month');
UPDATE task_attempts_history SET task_id = pg_temp.dated_back(task_id, MONTHS);
UPDATE task_inputs SET task_id = pg_temp.dated_back(task_id, MONTHS);
UPDATE partition_versions SET task_id = pg_temp.dated_back(task_id, MONTHS);
"""


async def _date_back(world: World, months: int) -> None:
    """Move the work of the current month, with all references to it, to an earlier month."""
    async with world.conn() as conn:
        await conn.execute(_DATE_BACK.replace("MONTHS", str(months)).encode())


@pytest.mark.timeout(400)
async def test_ten_years_of_history_are_no_larger_than_three(database: Database) -> None:
    world = await World.made(database, source("a"), job("b", "a"), job("c", "b"))
    sizes = {}
    for month in range(1, 121):
        days = [f"2013-{1 + month % 12:02}-{day:02}" for day in (1, 2)]
        await world.changed("a", *days)
        await world.run()
        await _archive(world)
        await _date_back(world, 120 - month)
        await _expire(world, 365 + 31 * (120 - month))
        (attempts,) = await world.rows("SELECT count(*) AS n FROM all_attempts")
        sizes[month] = [*await _sizes(world), attempts["n"]]
    assert sizes[120] <= sizes[36]
    assert all(sizes[36])


async def test_a_rejected_plan_stays_while_it_leaves_partitions_stale(database: Database) -> None:
    world = await _built(database, 1)
    async with world.conn() as conn:
        await set_setting(conn, world.org.id, "blast_radius", 0)
    await world.changed("a", DAY)
    (plan,) = await world.rows("SELECT id FROM plans WHERE state = 'pending_approval'")
    async with world.conn() as conn:
        await reject(conn, world.org, plan["id"], "ann")
    rejected = "SELECT id FROM plans WHERE state = 'rejected'"
    await _expire(world)
    assert await world.rows(rejected) == [plan]
    async with world.conn() as conn:
        await set_setting(conn, world.org.id, "blast_radius", None)
    await world.changed("a", DAY)
    await world.run()
    await _expire(world)
    assert await world.rows(rejected) == []
