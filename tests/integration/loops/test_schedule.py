"""Scheduled sources count as changed once per scheduled time, and once for several missed times."""

import asyncio
from datetime import UTC, datetime, timedelta
from typing import Any

from engine.flow.ingestion.schedules import fire_due
from engine.store.database import Database
from tests.support.worlds import World, job, source

YEARLY = "0 0 1 1 *"
READER = job("daily", "a", partitioning={})


def scheduled(cron: str = YEARLY) -> dict[str, Any]:
    return source("a", {}, source={"kind": "schedule", "cron": cron})


def passed() -> str:
    """Return a daily cron expression for a minute that has just passed."""
    return f"{datetime.now(UTC) - timedelta(minutes=2):%M %H} * * *"


async def fire(world: World) -> int:
    async with world.conn() as conn:
        return await fire_due(conn, world.org)


async def miss_times(world: World) -> None:
    """Have the sources last fired three years ago."""
    await world.rows(
        "UPDATE knockon.consumer_positions SET position = (position::timestamptz - interval "
        "'3 years')::text WHERE consumer = 'schedule' RETURNING 1"
    )


async def events(world: World) -> list[str]:
    rows = await world.rows(
        "SELECT d.name FROM knockon.data_invalidations i"
        " JOIN knockon.datasets d ON d.id = i.dataset_uuid WHERE i.reason = 'schedule'"
    )
    return [row["name"] for row in rows]


async def test_a_source_fires_once_for_all_missed_times(database: Database) -> None:
    world = await World.made(database, scheduled(), source("quiet"), READER)
    assert await fire(world) == 0

    await miss_times(world)
    assert await fire(world) == 1
    assert await fire(world) == 0
    assert await events(world) == ["a"]


async def test_concurrent_engines_fire_once(database: Database) -> None:
    world = await World.made(database, scheduled())
    await miss_times(world)

    assert sum(await asyncio.gather(fire(world), fire(world), fire(world))) == 1


async def test_a_changed_schedule_does_not_fire_for_a_time_before_its_deploy(
    database: Database,
) -> None:
    world = await World.made(database, scheduled(), READER)
    await world.rows(
        "UPDATE knockon.consumer_positions SET position = (clock_timestamp() - interval '1 hour')"
        "::text RETURNING 1"
    )
    await world.deploy(scheduled(passed()), READER)
    assert await fire(world) == 0


async def test_a_source_scheduled_again_does_not_fire_for_earlier_times(
    database: Database,
) -> None:
    daily = scheduled(passed())
    world = await World.made(database, daily, READER)
    await world.deploy(source("a", {}), READER)
    await miss_times(world)
    await world.rows(
        "UPDATE knockon.jobs SET created_at = created_at - interval '1 week' RETURNING 1"
    )
    await world.deploy(daily, READER)
    assert await fire(world) == 0


async def test_a_time_missed_before_a_deploy_of_another_schedule_still_counts(
    database: Database,
) -> None:
    world = await World.made(database, scheduled(), READER)
    await world.run()
    await miss_times(world)
    await world.deploy(scheduled("0 0 1 2 *"), READER)
    assert await events(world) == ["a"]
    assert await fire(world) == 0
    await world.plan()
    assert await world.run() == ["daily[*]"]


async def test_a_time_missed_before_a_deploy_of_other_jobs_still_counts(
    database: Database,
) -> None:
    world = await World.made(database, scheduled(), READER)
    await miss_times(world)
    await world.deploy(scheduled(), READER, job("other", "a", partitioning={}))
    assert await fire(world) == 1
