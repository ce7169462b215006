"""Partitions come into being as time passes, by the clock of the database."""

from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from datetime import UTC, datetime
from typing import Any

import pytest

from engine.flow.deployment.propose import propose
from engine.flow.execution.cancel import cancel
from engine.flow.planning.appear import appear
from engine.flow.planning.approve import reject
from engine.flow.planning.audit import audit_all
from engine.flow.shared.org_context import OrgContext
from engine.model.event import SourceEvent
from engine.store.database import Connection, Database
from engine.store.orgs import org_id, set_setting
from tests.support.clock import SEARCH_PATH, make_clock, set_now
from tests.support.worlds import World, job, source

DAYS = {"dt": {"time": "day"}}
FROM_MONDAY = {"dt": {"time": "day", "start": "2026-06-01", "end": "2100-01-01"}}
TRAILING = {"dt": {"from": "dt", "window": [-6, 0]}}


class WorldInTime(World):
    """A world with a clock that stands still."""

    @asynccontextmanager
    async def conn(self) -> AsyncIterator[Connection]:
        async with self.database.connection() as conn:
            await make_clock(conn)
            await conn.execute(f"SELECT set_config('search_path', '{SEARCH_PATH}', false)".encode())
            yield conn

    async def at(self, text: str) -> None:
        """Set the clock to a time in UTC."""
        async with self.conn() as conn:
            await set_now(conn, datetime.fromisoformat(text).replace(tzinfo=UTC))

    async def appear(self) -> int:
        async with self.conn() as conn:
            return await appear(conn, self.org)

    async def lost(self, *, mend: bool = False) -> int:
        async with self.conn() as conn:
            return (await audit_all(conn, self.org, mend=mend)).lost

    async def invalidated(self) -> list[str]:
        rows = await self.rows(
            "SELECT partition_key FROM data_invalidations WHERE reason = 'appeared' ORDER BY id"
        )
        return [row["partition_key"] for row in rows]


async def made(database: Database, *jobs: dict[str, Any], at: str = "2026-06-10T12:00") -> Any:
    async with database.connection() as conn:
        org = OrgContext(await org_id(conn, "default"))
    in_time = WorldInTime(database, org)
    await in_time.at(at)
    await in_time.deploy(*jobs)
    return in_time


def appearing(appears: Any, name: str = "daily", *inputs: Any, **more: Any) -> dict[str, Any]:
    made = job(name, *(inputs or ("a",)), partitioning=more.pop("partitioning", DAYS), **more)
    made["outputs"][0]["appears"] = appears
    return made


def trailing(**more: Any) -> dict[str, Any]:
    return job("trailing", {"dataset": "a", "mapping": TRAILING}, partitioning=DAYS, **more)


async def test_a_change_of_a_day_builds_the_trailing_week_day_by_day(database: Database) -> None:
    world = await made(database, source("a", DAYS), trailing())

    await world.changed("a", "2026-06-10")
    assert await world.run() == ["trailing[2026-06-10]"]

    for day in range(11, 17):
        await world.at(f"2026-06-{day}T00:00")
        assert await world.appear() == 1
        await world.plan()
        assert await world.run() == [f"trailing[2026-06-{day}]"]

    await world.at("2026-06-17T00:00")
    assert await world.appear() == 0, "the window of the change is over"
    assert await world.lost() == 0


async def test_nothing_appears_twice(database: Database) -> None:
    world = await made(database, source("a", DAYS), trailing())
    await world.changed("a", "2026-06-10")
    await world.at("2026-06-11T00:00")

    assert await world.appear() == 1
    assert await world.appear() == 0
    await world.plan()
    await world.run()
    assert await world.appear() == 0
    assert await world.invalidated() == ["2026-06-11"]


async def test_several_days_appear_in_one_invalidation(database: Database) -> None:
    world = await made(database, source("a", DAYS), trailing())
    await world.changed("a", "2026-06-10")
    await world.run()
    await world.at("2026-06-13T08:00")

    assert await world.appear() == 1
    assert await world.invalidated() == ["2026-06-11..2026-06-13"]


async def test_an_appeared_partition_reads_an_input_that_is_still_being_built(
    database: Database,
) -> None:
    reader = job("reader", {"dataset": "daily", "mapping": TRAILING}, partitioning=DAYS)
    world = await made(database, source("a", DAYS), job("daily", "a", partitioning=DAYS), reader)
    await world.changed("a", "2026-06-10")
    (lease,) = await world.claim()
    await world.at("2026-06-11T00:00")
    await world.appear()
    await world.plan()
    assert await world.claim() == [], "the input is not built yet"

    await world.finish(lease)

    assert await world.run() == ["reader[2026-06-10]", "reader[2026-06-11]"]


async def test_an_appeared_partition_is_skipped_if_its_input_is_not_built(
    database: Database,
) -> None:
    reader = job("reader", {"dataset": "daily", "mapping": TRAILING}, partitioning=DAYS)
    world = await made(database, source("a", DAYS), job("daily", "a", partitioning=DAYS), reader)
    await world.changed("a", "2026-06-10")
    await world.at("2026-06-11T00:00")
    await world.appear()
    await world.plan()
    task = await world.task("daily[2026-06-10]", "queued")
    async with world.conn() as conn:
        await cancel(conn, world.org, task["id"])

    assert await world.run() == []
    assert (await world.tasks())["skipped"] == ["reader[2026-06-10]", "reader[2026-06-11]"]


async def test_a_booking_is_built_before_its_day(database: Database) -> None:
    world = await made(
        database, source("a", DAYS), trailing(), job("daily", "a", partitioning=DAYS)
    )

    await world.changed("a", "2026-06-20")

    assert sorted(await world.run()) == ["daily[2026-06-20]", "trailing[2026-06-20]"]


async def test_partitions_appear_at_the_end_of_the_day_or_some_hours_later(
    database: Database,
) -> None:
    world = await made(
        database,
        source("a", DAYS),
        appearing("end", "closed"),
        appearing({"after": "6h"}, "late"),
        appearing("always", "always"),
    )
    await world.changed("a", "2026-06-10")
    assert await world.run() == ["always[2026-06-10]"]

    built = []
    for time in ("2026-06-10T23:59", "2026-06-11T00:00", "2026-06-11T05:59", "2026-06-11T06:00"):
        await world.at(time)
        await world.appear()
        await world.plan()
        built.append(await world.run())
    assert built == [[], ["closed[2026-06-10]"], [], ["late[2026-06-10]"]]


async def test_a_first_run_waits_only_for_what_is_in_being(database: Database) -> None:
    weekly = job(
        "weekly",
        {"dataset": "daily", "wait_for": "all"},
        partitioning={"dt": {"time": "week"}},
    )
    world = await made(database, source("a", DAYS), job("daily", "a", partitioning=DAYS), weekly)

    await world.changed("a", "2026-06-08", "2026-06-09")
    assert await world.run() == ["daily[2026-06-08]", "daily[2026-06-09]"]
    task = await world.task("weekly[2026-W24]", "blocked")
    assert task["waiting_for"] == {"daily": ["2026-06-10"]}

    await world.changed("a", "2026-06-10")
    assert await world.run() == ["daily[2026-06-10]", "weekly[2026-W24]"]


async def test_a_bounded_grid_is_built_up_to_today_and_grows(database: Database) -> None:
    daily = job("daily", "a", partitioning=FROM_MONDAY)
    world = await made(database, source("a", {}), daily, at="2026-06-03T12:00")
    await world.changed("a")
    assert await world.run() == [f"daily[2026-06-0{day}]" for day in (1, 2, 3)]

    await world.at("2026-06-04T12:00")
    await world.appear()
    await world.plan()

    assert await world.run() == ["daily[2026-06-04]"]


async def test_a_full_job_runs_again_for_partitions_that_appear(database: Database) -> None:
    daily = job("daily", "a", partitioning=FROM_MONDAY, execution_strategy="Full")
    world = await made(database, source("a", {}), daily, at="2026-06-02T12:00")
    await world.changed("a")
    (lease,) = await world.claim()
    assert lease.partitions == ("2026-06-01", "2026-06-02")
    await world.finish(lease)

    await world.at("2026-06-03T00:00")
    await world.appear()
    await world.plan()

    (lease,) = await world.claim()
    assert lease.partitions == ("2026-06-01", "2026-06-02", "2026-06-03")


async def test_partitions_that_appear_in_a_blocked_task_of_a_full_job_are_built(
    database: Database,
) -> None:
    """The task would be skipped, because its input turns out to be unchanged."""
    full = job(
        "m", {"dataset": "b", "mapping": "all"}, partitioning=FROM_MONDAY, execution_strategy="Full"
    )
    world = await made(database, source("a", {}), job("b", "a", partitioning={}), full)
    await world.at("2026-06-02T12:00")
    await world.changed("a")
    await world.run(b="1")
    await world.at("2026-06-03T12:00")
    await world.changed("a")
    await world.appear()
    await world.plan()
    assert await world.run(b="1") == ["b[*]", "m[*]"]
    rows = await world.rows("SELECT partition_key FROM partition_versions ORDER BY 1 DESC LIMIT 1")
    assert rows[0]["partition_key"] == "2026-06-03"


async def test_a_full_job_runs_for_partitions_that_appear_from_any_of_its_inputs(
    database: Database,
) -> None:
    """An input that leaves the days open gives all of them, even if another input has none."""
    inputs = "late", {"dataset": "rates", "mapping": "all"}
    full = job("m", *inputs, partitioning=FROM_MONDAY, execution_strategy="Full")
    sources = source("late", DAYS), source("rates", {})
    world = await made(database, *sources, full, at="2026-06-02T12:00")
    await world.changed("rates", "*")
    await world.run()
    await world.at("2026-06-03T12:00")
    assert await world.appear() == 1
    assert await world.invalidated() == ["2026-06-03"]


async def test_a_request_builds_the_rejected_partitions_of_a_full_job(database: Database) -> None:
    full = trailing(execution_strategy="Full")
    world = await made(database, source("a", DAYS), full, job("n", "trailing", partitioning=DAYS))
    await world.changed("a", "2026-06-10")
    await world.run()
    async with world.conn() as conn:
        await set_setting(conn, world.org.id, "blast_radius", 1)
    await world.at("2026-06-11T12:00")
    await world.appear()
    planned = await world.plan()
    assert planned is not None
    assert planned.plan_id is not None
    async with world.conn() as conn:
        await reject(conn, world.org, planned.plan_id)
        await set_setting(conn, world.org.id, "blast_radius", None)

    await world.changed("trailing", reason="manual")

    (lease,) = await world.claim()
    assert lease.partitions == ("2026-06-10", "2026-06-11")


async def test_a_new_job_builds_what_is_in_being(database: Database) -> None:
    world = await made(database, source("a", DAYS))
    await world.changed("a", "2026-06-08", "2026-06-20")

    await world.deploy(source("a", DAYS), trailing())

    assert await world.run() == [
        *("trailing[2026-06-08]", "trailing[2026-06-09]", "trailing[2026-06-10]"),
        "trailing[2026-06-20]",
    ]


@pytest.mark.parametrize(
    ("appears", "built"),
    [("start", ["daily[2026-06-10]"]), ("end", []), ("always", ["daily[2026-06-10]"])],
)
async def test_another_time_of_appearance_takes_effect_without_a_rebuild(
    database: Database, appears: str, built: list[str]
) -> None:
    world = await made(database, source("a", DAYS), appearing("end"))
    await world.changed("a", "2026-06-09", "2026-06-10")
    assert await world.run() == ["daily[2026-06-09]"]

    await world.deploy(source("a", DAYS), appearing(appears))

    assert await world.run() == built
    assert await world.lost() == 0


async def test_the_preview_leaves_out_what_is_to_come(database: Database) -> None:
    world = await made(database, source("a", DAYS), trailing())
    event = SourceEvent(dataset="a", partitions=("2026-06-09",))

    async with world.conn() as conn:
        decision = (await propose(conn, world.org, event)).decision

    (step,) = decision.plan.steps
    assert step.partitions.space.texts(step.partitions) == ["2026-06-09..2026-06-10"]


async def test_a_change_that_reaches_only_the_future_is_processed(database: Database) -> None:
    tomorrow = {"dt": {"from": "dt", "window": [-1, -1]}}
    next_day = job("next_day", {"dataset": "a", "mapping": tomorrow}, partitioning=DAYS)
    world = await made(database, source("a", DAYS), next_day)

    await world.changed("a", "2026-06-10")

    (row,) = await world.rows("SELECT outcome FROM data_invalidations WHERE reason = 'change'")
    assert row["outcome"] == "affects_nothing"
    assert await world.lost() == 0
    await world.at("2026-06-11T00:00")
    await world.appear()
    await world.plan()
    assert await world.run() == ["next_day[2026-06-11]"]


async def test_the_audit_leaves_partitions_between_two_checks_to_the_next(
    database: Database,
) -> None:
    world = await made(database, source("a", DAYS), trailing())
    await world.changed("a", "2026-06-10")
    await world.run()
    await world.at("2026-06-11T00:00")
    assert await world.lost() == 0

    # The check is lost.
    await world.rows(
        "UPDATE consumer_positions SET position = '2026-06-11T00:00:00+00:00' "
        "WHERE consumer = 'appears' RETURNING 1"
    )
    assert await world.lost(mend=True) == 1
    await world.plan()
    assert await world.run() == ["trailing[2026-06-11]"]


async def test_manual_jobs_build_nothing_by_themselves(database: Database) -> None:
    world = await made(database, source("a", DAYS), trailing(activation="manual"))
    await world.changed("a", "2026-06-10")
    await world.at("2026-06-11T00:00")

    assert await world.appear() == 0


async def test_days_of_a_job_that_reads_itself_appear_in_order(database: Database) -> None:
    own = {"dataset": "self", "window": [-1, -1]}
    world = await made(database, source("a", DAYS), appearing("end", "late", "a", own))
    await world.appear()
    await world.change("a", "2026-06-08..2026-06-12")
    await world.plan()
    assert await world.run() == ["late[2026-06-08]"]
    await world.plan()
    assert await world.run() == ["late[2026-06-09]"]
    await world.plan()
    assert await world.run() == []

    await world.at("2026-06-12T00:00")
    await world.appear()
    ran = []
    while await world.plan() is not None:
        ran += await world.run()

    assert ran == ["late[2026-06-10]", "late[2026-06-11]"]
    assert await world.lost() == 0
