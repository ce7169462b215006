"""Scheduled sources count as changed once per scheduled time, and once for several missed times."""

import asyncio

from engine.loops.schedule import fire_due
from engine.store.database import Database
from tests.support.worlds import World, job, source

YEARLY = {"kind": "schedule", "cron": "0 0 1 1 *"}
DEPLOYED = "UPDATE knockon.jobs SET created_at = clock_timestamp() - %s::interval RETURNING 1"


async def fire(world: World) -> int:
    async with world.conn() as conn:
        return await fire_due(conn, world.org)


async def test_a_source_fires_once_for_all_missed_times(
    database: Database,
) -> None:
    world = await World.made(
        database, source("yearly", source=YEARLY), source("quiet"), job("daily", "yearly")
    )
    assert await fire(world) == 0

    await world.rows(DEPLOYED, "3 years")
    assert await fire(world) == 1
    assert await fire(world) == 0
    events = await world.rows(
        "SELECT d.name FROM knockon.data_invalidations i"
        " JOIN knockon.datasets d ON d.id = i.dataset_uuid WHERE i.reason = 'schedule'"
    )
    assert [event["name"] for event in events] == ["yearly"]


async def test_concurrent_engines_fire_once(database: Database) -> None:
    world = await World.made(database, source("yearly", source=YEARLY))
    await world.rows(DEPLOYED, "3 years")

    assert sum(await asyncio.gather(fire(world), fire(world), fire(world))) == 1
