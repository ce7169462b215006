"""Schedules with their last and next times, and the partitions that change then."""

from datetime import UTC, datetime, timedelta
from typing import Any

import pytest

from engine.flow.ingestion.schedules import fire_due
from engine.model.states import PauseKind, Role
from engine.service.commands.pauses import pause
from engine.service.queries.schedules import ScheduleRow, schedules
from engine.store.database import Database
from tests.support.hidden import hidden_world
from tests.support.worlds import World, source

DAYS = {"dt": {"time": "day"}}
ZONE = "America/New_York"


def nightly(name: str, partitioning: dict[str, Any] = DAYS, **more: Any) -> dict[str, Any]:
    return source(name, partitioning, source={"kind": "schedule", "cron": "0 2 * * *"} | more)


@pytest.fixture
async def world(database: Database) -> World:
    return await World.made(
        database, nightly("a"), nightly("b", zone=ZONE, covers=[-2, 0]), nightly("c", {})
    )


async def listed(world: World) -> dict[str, ScheduleRow]:
    return {row.dataset: row for row in await schedules(world.caller, world.service)}


async def moved(world: World, to: datetime) -> None:
    """Have the sources last fired at a time."""
    await world.rows(
        "UPDATE consumer_positions SET position = %s WHERE consumer = 'schedule' RETURNING 1",
        to.isoformat(),
    )


async def test_a_new_schedule_has_a_next_time_only(world: World) -> None:
    for row in (await listed(world)).values():
        assert (row.dag, row.job, row.cron) == ("w", f"src_{row.dataset}", "0 2 * * *")
        assert (row.last_at, row.is_overdue) == (None, False)
        assert datetime.now(UTC) < row.next_at < datetime.now(UTC) + timedelta(days=2)


async def test_times_and_partitions_follow_zone_and_covers(world: World) -> None:
    await moved(world, datetime(2013, 2, 13, 7, tzinfo=UTC))  # 2 a.m. in New York
    rows = await listed(world)
    assert rows["a"].last_at is None  # it is no time of the schedule in UTC
    assert rows["a"].next_at == datetime(2013, 2, 14, 2, tzinfo=UTC)
    assert rows["a"].next_partitions == ("2013-02-13",)
    assert rows["b"].last_at == datetime(2013, 2, 13, 7, tzinfo=UTC)
    assert rows["b"].next_at == datetime(2013, 2, 14, 7, tzinfo=UTC)
    assert rows["b"].next_partitions == ("2013-02-12..2013-02-14",)
    assert (rows["b"].zone, rows["b"].covers) == (ZONE, [-2, 0])
    assert rows["c"].next_partitions is None
    assert [row.is_overdue for row in rows.values()] == [True] * 3
    assert list(rows) == ["a", "c", "b"]


async def test_an_engine_ends_the_delay(world: World) -> None:
    await moved(world, datetime(2013, 2, 13, 2, tzinfo=UTC))
    async with world.conn() as conn:
        assert await fire_due(conn, world.org) == 3
    for row in (await listed(world)).values():
        assert not row.is_overdue
        assert row.last_at is not None
        assert row.last_at <= datetime.now(UTC) < row.next_at


async def test_pauses_are_shown(world: World) -> None:
    await pause(world.caller, world.service, PauseKind.DATASET, "a", reason="repair")
    rows = await listed(world)
    assert [name for name, row in rows.items() if row.pause] == ["a"]


async def test_hidden_schedules_are_left_out(database: Database) -> None:
    hidden = await hidden_world(database)
    assert await schedules(hidden.user(Role.WRITER), hidden.world.service) == []
    (row,) = await schedules(hidden.user(Role.WRITER, "finance"), hidden.world.service)
    assert row.dataset == "zzsecret_nightly"
