"""Scheduled sources count as changed once per scheduled time, and once for several missed times."""

import asyncio
from datetime import UTC, datetime, timedelta
from typing import Any

import pytest

from engine.flow.ingestion.schedules import fire_due
from engine.store.database import Database
from tests.support.worlds import World, job, source

YEARLY = "0 0 1 1 *"
DAYS = {"dt": {"time": "day"}}
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


async def missed_since(world: World, days: int) -> None:
    """Have the sources last fired some days ago."""
    await world.rows(
        "UPDATE knockon.consumer_positions SET position = (clock_timestamp() - %s * interval "
        "'1 day')::text WHERE consumer = 'schedule' RETURNING 1",
        days,
    )


async def keys(world: World) -> list[str | None]:
    rows = await world.rows(
        "SELECT i.partition_key FROM knockon.data_invalidations i WHERE i.reason = 'schedule'"
        " ORDER BY i.id"
    )
    return [row["partition_key"] for row in rows]


def day(offset: int) -> str:
    """Return the day at an offset from the day of `passed`."""
    return f"{datetime.now(UTC) - timedelta(minutes=2) + timedelta(days=offset):%Y-%m-%d}"


@pytest.mark.parametrize(("covers", "first", "last"), [({}, -1, -1), ({"covers": [-3, 0]}, -3, 0)])
async def test_a_time_covers_windows_counted_from_its_own(
    database: Database, covers: dict[str, Any], first: int, last: int
) -> None:
    nightly = source("a", DAYS, source={"kind": "schedule", "cron": passed()} | covers)
    world = await World.made(database, nightly, job("daily", "a", partitioning=DAYS))
    await missed_since(world, 1)
    assert await fire(world) == 1
    expected = day(first) if first == last else f"{day(first)}..{day(last)}"
    assert await keys(world) == [expected]
    await world.plan()
    assert len(await world.run()) == last - first + 1


async def test_missed_times_cover_the_windows_of_each(database: Database) -> None:
    weekly = "0 0 * * 1"
    world = await World.made(
        database, source("a", DAYS, source={"kind": "schedule", "cron": weekly})
    )
    await missed_since(world, 28)
    assert await fire(world) == 1
    found = await keys(world)
    assert len(found) == 4
    days = [datetime.fromisoformat(key or "") for key in found]
    assert {each.isoweekday() for each in days} == {7}
    assert days == sorted(days)


async def test_thousands_of_missed_times_begin_with_the_first_missed(database: Database) -> None:
    """The window of the last time that has fired is not covered again."""
    nightly = source("a", DAYS, source={"kind": "schedule", "cron": passed()})
    world = await World.made(database, nightly)
    await missed_since(world, 1500)
    assert await fire(world) == 1
    assert await keys(world) == [f"{day(-1500)}..{day(-1)}"]


async def test_a_time_beyond_the_bounds_changes_nothing(database: Database) -> None:
    past = {"dt": {"time": "day", "start": "2013-01-01", "end": "2013-02-01"}}
    world = await World.made(
        database, source("a", past, source={"kind": "schedule", "cron": passed()})
    )
    await missed_since(world, 2)
    assert await fire(world) == 1
    assert await fire(world) == 0
    assert await keys(world) == []


async def test_covers_all_changes_the_whole_dataset(database: Database) -> None:
    schedule = {"kind": "schedule", "cron": passed(), "covers": "all"}
    world = await World.made(database, source("a", DAYS, source=schedule))
    await missed_since(world, 2)
    assert await fire(world) == 1
    assert await keys(world) == [None]


async def test_a_time_missed_before_a_deploy_of_other_covers_counts_as_before(
    database: Database,
) -> None:
    schedule = {"kind": "schedule", "cron": passed(), "covers": "all"}
    world = await World.made(database, source("a", DAYS, source=schedule))
    await missed_since(world, 2)
    await world.deploy(source("a", DAYS, source=schedule | {"covers": [-1, -1]}))
    assert await fire(world) == 0
    assert await keys(world) == [None]


async def test_a_redeployed_schedule_with_covers_goes_on(database: Database) -> None:
    daily = {"kind": "schedule", "cron": YEARLY, "covers": [-1, -1]}
    world = await World.made(database, source("a", DAYS, source=daily))
    await missed_since(world, 400)
    position = "SELECT position FROM knockon.consumer_positions WHERE consumer = 'schedule'"
    before = await world.rows(position)

    await world.deploy(source("a", DAYS, source=daily, description="other"))

    assert await world.rows(position) == before


async def test_windows_that_are_all_of_the_dataset_come_into_being(database: Database) -> None:
    bounds = {"dt": {"time": "day", "start": day(-3), "end": day(0)}}
    daily = {"kind": "schedule", "cron": "0 0 * * *", "covers": [-1, -1]}
    world = await World.made(
        database, source("a", bounds, source=daily), job("b", "a", partitioning=bounds)
    )
    await world.changed("a", day(-2))
    await world.run()
    await missed_since(world, 5)

    assert await fire(world) == 1
    await world.plan()

    assert sorted(await world.run()) == [f"b[{day(offset)}]" for offset in (-3, -2, -1)]


async def test_a_schedule_that_cannot_fire_stops_neither_others_nor_a_deploy(
    database: Database,
) -> None:
    """Its windows are beyond the calendar."""
    weeks = {"dt": {"time": "week"}}
    often = {"kind": "schedule", "cron": "0 0 1 * *"}
    beyond = source("a", weeks, source={**often, "covers": [-1, 1_999_999]})
    world = await World.made(database, beyond, dag="first")
    await world.deploy(source("good", DAYS, source={**often, "covers": [-1, -1]}), dag="second")
    await miss_times(world)
    assert await fire(world) == 1
    await world.deploy(source("a", weeks, source={**often, "covers": [-1, -1]}), dag="first")
    assert set(await events(world)) == {"good"}
