"""Jobs that read earlier partitions of their own output: built in order, one by one."""

import random
from dataclasses import dataclass, field
from datetime import date, timedelta
from typing import Any

import pytest

from engine.flow.execution.cancel import cancel
from engine.flow.execution.fail import fail
from engine.flow.execution.retry import retry
from engine.flow.planning.approve import approve, reject
from engine.flow.planning.audit import audit_all
from engine.flow.planning.pending_work import Verdict, load_pending_work
from engine.model.event import SourceEvent
from engine.model.task import Lease, Output
from engine.service.commands.proposals import propose
from engine.service.queries.status import status
from engine.store.database import Database
from engine.store.notifications import INVALIDATIONS
from tests.support.worlds import World, job, name_of, source

DAY_BEFORE = {"dataset": "self", "window": [-1, -1]}


def balance(*inputs: Any, **more: Any) -> dict[str, Any]:
    return job("balance", *(inputs or ("a", DAY_BEFORE)), **more)


async def drained(world: World, same: tuple[str, ...] = (), **fingerprints: str) -> list[str]:
    """Plan and run until nothing is left to do; return the runs in order."""
    before = len(world.log)
    while True:
        planned = await world.plan()
        ran = await world.run(same, **fingerprints)
        if planned is None and not ran:
            return world.log[before:]


async def lost(world: World) -> int:
    async with world.conn() as conn:
        return (await audit_all(conn, world.org)).lost


async def in_hand(world: World) -> int:
    async with world.conn() as conn:
        return (await audit_all(conn, world.org, "balance")).in_hand


async def unfinished(world: World) -> list[str]:
    rows = await world.rows(
        "SELECT block_key FROM tasks t JOIN jobs j ON j.id = t.job_id WHERE j.name = 'balance' "
        "AND t.status IN ('blocked', 'queued', 'running', 'failed')"
    )
    return sorted(row["block_key"] for row in rows)


def days(first: int, last: int) -> list[str]:
    return [f"balance[2013-01-{day:02}]" for day in range(first, last + 1)]


async def built(database: Database, last: int, *jobs: dict[str, Any]) -> World:
    """A world with balances of January up to a day."""
    world = await World.made(database, source("a"), *(jobs or (balance(),)))
    await world.change("a", f"2013-01-01..2013-01-{last:02}")
    await drained(world)
    return world


async def test_a_first_build_of_many_days_builds_each_day_once_in_order(database: Database) -> None:
    world = await World.made(database, source("a"), balance())

    await world.changed("a", "2013-01-01..2013-01-20")

    assert await unfinished(world) == ["2013-01-01"]
    assert await lost(world) == 0
    assert await drained(world) == days(1, 20)
    assert await lost(world) == 0
    assert await in_hand(world) == 0


async def test_each_day_reads_the_day_before(database: Database) -> None:
    world = await World.made(database, source("a"), balance())
    await world.changed("a", "2013-01-01..2013-01-02")
    balances = await world.dataset_id("balance")

    (first,) = await world.claim()
    assert first.input_versions[str(balances)] == {"2012-12-31": None} or (
        first.input_versions[str(balances)] == {}
    )
    await world.finish(first)
    await world.plan()
    (second,) = await world.claim()

    assert second.partitions == ("2013-01-02",)
    assert second.input_versions[str(balances)]["2013-01-01"] is not None


async def test_a_change_in_the_middle_recomputes_from_there_on(database: Database) -> None:
    world = await built(database, 10)

    await world.change("a", "2013-01-04")

    assert await drained(world) == days(4, 10)
    assert await lost(world) == 0


async def test_a_change_stops_at_an_unchanged_balance(database: Database) -> None:
    world = await World.made(database, source("a"), balance())
    await world.change("a", "2013-01-01..2013-01-10")
    await drained(world, balance="x")

    await world.change("a", "2013-01-04")
    await world.plan()
    (fourth,) = await world.claim()
    await world.finish(fourth, "y")

    assert await drained(world, balance="x") == ["balance[2013-01-05]"]
    assert await lost(world) == 0


async def test_a_change_of_a_column_not_read_by_the_next_day_stops(database: Database) -> None:
    columns = {"total": ["a.amount", "self.total"], "note": ["a.note"]}
    world = await World.made(database, source("a"), balance(columns=columns))
    await world.changed("a", "2013-01-01..2013-01-02")

    async def ran(**contents: str) -> list[str]:
        before = len(world.log)
        while leases := await world.claim():
            for lease in leases:
                (day,) = lease.partitions
                await world.complete(lease, Output("balance", day, column_fingerprints=contents))
            await world.plan()
        return world.log[before:]

    assert await ran(total="1", note="1") == days(1, 2)
    await world.changed("a", "2013-01-01")
    assert await ran(total="1", note="2") == days(1, 1)
    assert {*await world.tasks()} == {"succeeded"}
    await world.changed("a", "2013-01-01")
    assert await ran(total="2", note="2") == days(1, 2)


async def test_changes_of_several_days_run_each_day_once(database: Database) -> None:
    world = await built(database, 10)

    await world.change("a", "2013-01-08")
    await world.change("a", "2013-01-03")
    await world.change("a", "2013-01-05..2013-01-06")

    assert await drained(world) == days(3, 10)


async def test_a_change_of_a_later_day_waits_for_the_earlier_ones(database: Database) -> None:
    world = await built(database, 6)
    await world.changed("a", "2013-01-02")

    await world.changed("a", "2013-01-05")

    assert await unfinished(world) == ["2013-01-02"]
    assert await lost(world) == 0
    assert await drained(world) == days(2, 6)


async def test_a_later_day_waits_for_the_last_of_several_earlier_ones(database: Database) -> None:
    world = await World.made(database, source("a"), balance())
    await world.change("a", "2013-01-01..2013-01-05")
    await drained(world, balance="x")
    for day in (3, 1, 4):
        await world.changed("a", f"2013-01-{day:02}")
    leases = {name_of(lease): lease for lease in await world.claim()}
    await world.finish(leases["balance[2013-01-01]"], "x")

    assert await world.plan() is None
    await world.finish(leases["balance[2013-01-03]"], "x")
    assert await drained(world, balance="x") == days(4, 4)


async def test_a_queued_task_waits_for_a_change_of_the_day_before(database: Database) -> None:
    world = await built(database, 4)
    await world.changed("a", "2013-01-03")
    await world.changed("a", "2013-01-02")

    (first,) = await world.claim()

    assert name_of(first) == "balance[2013-01-02]"
    await world.finish(first)
    assert await drained(world) == days(3, 4)


async def test_a_change_of_a_running_day_runs_it_again_before_the_next(database: Database) -> None:
    world = await built(database, 3)
    await world.changed("a", "2013-01-02..2013-01-03")
    (second,) = await world.claim()
    await world.changed("a", "2013-01-02")

    await world.finish(second)

    assert await drained(world) == ["balance[2013-01-02]", "balance[2013-01-03]"]
    assert await lost(world) == 0


async def test_a_gap_does_not_block(database: Database) -> None:
    world = await built(database, 3)

    await world.change("a", "2013-01-06..2013-01-07")

    assert await drained(world) == days(6, 7)
    await world.change("a", "2013-01-05")
    assert await drained(world) == days(5, 7)
    assert await lost(world) == 0


async def test_a_window_of_several_days_runs_each_day_once(database: Database) -> None:
    week = {"dataset": "self", "window": [-3, -1]}
    world = await built(database, 8, balance("a", week))

    await world.change("a", "2013-01-03")

    assert await drained(world) == days(3, 8)
    assert await lost(world) == 0


async def test_chains_of_other_dimensions_are_independent(database: Database) -> None:
    shops = {"dt": {"time": "day"}, "shop": {"static": ["x", "y"]}}
    by_shop = {
        "dataset": "balance",
        "mapping": {"dt": {"from": "dt", "window": [-1, -1]}, "shop": "shop"},
    }
    world = await World.made(
        database, source("a", shops), balance("a", by_shop, partitioning=shops)
    )
    await world.changed("a", "dt=2013-01-01..2013-01-03")

    leases = await world.claim()

    assert [lease.block_key for lease in leases] == [
        "dt=2013-01-01/shop=x",
        "dt=2013-01-01/shop=y",
    ]
    for lease in leases:
        await world.finish(lease)
    assert len(await drained(world)) == 4


async def test_readers_follow_day_by_day(database: Database) -> None:
    world = await World.made(database, source("a"), balance(), job("report", "balance"))
    await world.change("a", "2013-01-01..2013-01-03")

    assert await drained(world) == [
        f"{name}[2013-01-{day:02}]" for day in (1, 2, 3) for name in ("balance", "report")
    ]
    assert await lost(world) == 0


async def test_a_changed_day_brings_no_later_day_of_a_reader_into_being(
    database: Database,
) -> None:
    report = job("report", "balance", scaling={"partitions_per_task": 2})
    world = await built(database, 3, balance(), report)
    await world.changed("report", "2013-01-01..2013-01-03")
    await world.changed("balance", "2013-01-03")
    (third,) = [lease for lease in await world.claim() if lease.job.name == "balance"]

    await world.finish(third)
    await drained(world)

    reports = await world.rows(
        "SELECT p.partition_key FROM partition_versions p JOIN datasets d ON d.id = p.dataset_uuid "
        "WHERE d.name = 'report' ORDER BY 1"
    )
    assert [row["partition_key"] for row in reports] == ["2013-01-01", "2013-01-02", "2013-01-03"]


async def test_later_days_wait_for_a_failed_one(database: Database) -> None:
    world = await World.made(database, source("a"), balance(max_attempts=1))
    await world.changed("a", "2013-01-01..2013-01-03")
    (first,) = await world.claim()
    async with world.conn() as conn:
        await fail(conn, world.org, first, "no")

    assert await drained(world) == []
    assert await lost(world) == 0

    await world.change("a", "2013-01-01")
    assert await drained(world) == days(1, 3)


async def test_later_days_go_on_after_a_canceled_one(database: Database) -> None:
    world = await World.made(database, source("a"), balance())
    await world.changed("a", "2013-01-01..2013-01-03")
    first = await world.task("balance[2013-01-01]", "queued")
    async with world.conn() as conn:
        await cancel(conn, world.org, first["id"])

    assert await drained(world) == days(2, 3)
    assert await lost(world) == 0

    await world.change("a", "2013-01-01")
    assert await drained(world) == days(1, 3)


async def test_a_changed_definition_rebuilds_in_order(database: Database) -> None:
    world = await built(database, 5)

    await world.deploy(source("a"), balance(config={"more": 1}))

    assert await unfinished(world) == ["2013-01-01"]
    assert await drained(world) == days(1, 5)
    assert await lost(world) == 0


async def test_limits_count_all_days_once(database: Database) -> None:
    world = await World.made(database, source("a"), balance(scaling={"blast_radius": 3}))
    await world.change("a", "2013-01-01..2013-01-05")
    planned = await world.plan()
    assert planned is not None
    assert planned.exceeded_limits
    assert planned.plan_id is not None
    assert await lost(world) == 0

    async with world.conn() as conn:
        await approve(conn, world.org, planned.plan_id, "me")

    assert await drained(world) == days(1, 5)


async def test_limits_count_the_days_that_may_follow(database: Database) -> None:
    world = await built(database, 7, balance(scaling={"blast_radius": 7}))
    await world.deploy(source("a"), balance(scaling={"blast_radius": 3}))

    await world.change("a", "2013-01-04")
    planned = await world.plan()
    assert planned is not None
    assert [each.partitions for each in planned.exceeded_limits] == [4]

    await world.change("a", "2013-01-05")
    assert await drained(world) == days(5, 7)
    async with world.conn() as conn:
        assert planned.plan_id is not None
        await approve(conn, world.org, planned.plan_id, "me")
    assert await drained(world) == days(4, 7)


async def test_a_preview_names_the_days_that_may_follow(database: Database) -> None:
    world = await built(database, 7)
    change = SourceEvent(dataset="a", partitions=("2013-01-04",))

    (impacted,) = (await propose(world.caller, world.service, change)).jobs

    assert impacted.partitions == ("2013-01-04",)
    assert impacted.continued == ("2013-01-05..2013-01-07",)
    assert impacted.tasks == 1


async def test_a_preview_names_days_that_a_wider_window_reaches(database: Database) -> None:
    weekly = {"dataset": "self", "window": [-3, -2]}
    world = await built(database, 9, balance("a", weekly))
    await world.rows(
        "DELETE FROM partition_versions WHERE partition_key = '2013-01-06' RETURNING 1"
    )
    change = SourceEvent(dataset="a", partitions=("2013-01-03",))

    (impacted,) = (await propose(world.caller, world.service, change)).jobs

    assert impacted.continued == ("2013-01-05", "2013-01-07..2013-01-09")


async def test_a_rejected_plan_leaves_all_days(database: Database) -> None:
    world = await World.made(database, source("a"), balance(scaling={"blast_radius": 3}))
    await world.change("a", "2013-01-01..2013-01-05")
    planned = await world.plan()
    assert planned is not None
    assert planned.plan_id is not None
    async with world.conn() as conn:
        await reject(conn, world.org, planned.plan_id, "me")

    assert await drained(world) == []
    assert await lost(world) == 0


async def test_an_awaited_day_before_is_one_with_inputs(database: Database) -> None:
    world = await World.made(database, source("a"), balance("a", DAY_BEFORE | {"wait_for": "all"}))
    await world.change("a", "2013-01-04..2013-01-06")

    assert await drained(world) == days(4, 6)
    assert await lost(world) == 0


async def test_a_manual_job_builds_requested_days_only(database: Database) -> None:
    world = await World.made(database, source("a"), balance(activation="manual"))
    await world.change("a", "2013-01-01..2013-01-05")
    assert await drained(world) == []

    await world.change("balance", "2013-01-01..2013-01-03")

    assert await drained(world) == days(1, 3)
    await world.change("balance", "2013-01-01")
    assert await drained(world) == days(1, 1)
    assert await lost(world) == 0


async def test_requested_days_run_without_a_known_input(database: Database) -> None:
    """The rows of a source may be older than its first event."""
    world = await World.made(database, source("a"), balance())

    await world.change("balance", "2013-01-01..2013-01-04")

    assert await drained(world) == days(1, 4)
    await world.change("balance", "2013-01-02..2013-01-03")
    assert await drained(world, balance="x") == days(2, 4)


async def test_a_balance_corrected_by_hand_recomputes_the_next_days(database: Database) -> None:
    world = await built(database, 4)

    await world.change("balance", "2013-01-02", reason="rewritten")

    assert await drained(world) == days(3, 4)


async def test_a_correction_by_hand_brings_no_later_day_into_being(database: Database) -> None:
    world = await built(database, 4)

    await world.change("balance", "2013-01-04", reason="rewritten")

    assert await drained(world) == []
    assert await lost(world) == 0


async def test_a_correction_by_hand_builds_a_canceled_next_day(database: Database) -> None:
    world = await built(database, 4)
    await world.changed("a", "2013-01-05")
    task = await world.task("balance[2013-01-05]", "queued")
    async with world.conn() as conn:
        await cancel(conn, world.org, task["id"])

    await world.change("balance", "2013-01-04", reason="rewritten")

    assert await drained(world) == days(5, 5)
    assert await lost(world) == 0


async def test_a_chain_goes_on_after_a_deploy_without_a_new_definition(database: Database) -> None:
    world = await World.made(database, source("a"), balance())
    await world.changed("a", "2013-01-01..2013-01-04")
    await world.run()

    await world.deploy(source("a"), balance(description="other"))

    assert await drained(world) == days(2, 4)
    assert await lost(world) == 0


async def test_a_deploy_in_the_middle_of_a_chain_rebuilds_all_of_it(database: Database) -> None:
    world = await World.made(database, source("a"), balance())
    await world.changed("a", "2013-01-01..2013-01-04")
    await world.run()
    await world.plan()

    await world.deploy(source("a"), balance(config={"more": 1}))

    assert await drained(world) == days(1, 4)
    assert await lost(world) == 0


async def test_a_job_that_no_longer_reads_itself_builds_what_waited(database: Database) -> None:
    world = await World.made(database, source("a"), balance())
    await world.changed("a", "2013-01-01..2013-01-04")

    await world.deploy(source("a"), balance("a"))

    assert sorted(await drained(world)) == days(1, 4)
    assert await lost(world) == 0


async def test_a_job_begins_to_read_itself(database: Database) -> None:
    world = await built(database, 4, balance("a"))
    await world.changed("a", "2013-01-02..2013-01-03")

    await world.deploy(source("a"), balance())

    assert await drained(world) == days(1, 4)
    assert await lost(world) == 0


async def test_a_retried_task_and_the_days_after_it_run_in_order(database: Database) -> None:
    world = await World.made(database, source("a"), balance(max_attempts=1))
    await world.changed("a", "2013-01-01..2013-01-03")
    (first,) = await world.claim()
    async with world.conn() as conn:
        await fail(conn, world.org, first, "no")
        await retry(conn, world.org, first.task_id)

    assert await drained(world) == days(1, 3)


async def test_the_backlog_disregards_days_that_wait(database: Database) -> None:
    world = await World.made(database, source("a"), balance())
    await world.changed("a", "2013-01-01..2013-01-03")

    found = await status(world.caller, world.service)

    assert found.oldest_seconds is None


async def test_the_end_of_a_task_wakes_the_planner_for_the_next_day(database: Database) -> None:
    world = await World.made(database, source("a"), balance())
    await world.change("a", "2013-01-01..2013-01-02")
    await drained(world, balance="x")
    await world.changed("a", "2013-01-01..2013-01-02")
    (first,) = await world.claim()

    async with world.conn() as conn:
        await conn.execute(f"LISTEN {INVALIDATIONS}".encode())
        await world.finish(first, "x")  # unchanged, so nothing new is invalidated
        woken = [each.channel async for each in conn.notifies(timeout=10, stop_after=1)]
        await conn.execute(b"UNLISTEN *")

    assert woken == [INVALIDATIONS]
    assert await drained(world, balance="x") == days(2, 2)


async def test_a_day_that_waits_is_explained(database: Database) -> None:
    world = await World.made(database, source("a"), balance())
    await world.changed("a", "2013-01-01..2013-01-03")

    async with world.conn() as conn:
        lineage = await world.org.lineage(conn)
        job_ = lineage.producer(await world.dataset_id("balance"))
        keys = ["2013-01-01", "2013-01-03"]
        pending = await load_pending_work(conn, world.org, lineage, job_, keys)

    assert "is queued" in str(pending.of("2013-01-01"))
    assert pending.of("2013-01-03") == (
        Verdict.IN_HAND,
        "it waits for 2013-01-01 of the same job",
    )


async def test_a_canceled_day_in_the_middle_lets_the_next_ones_run(database: Database) -> None:
    world = await built(database, 4)
    await world.changed("a", "2013-01-02..2013-01-03")
    second = await world.task("balance[2013-01-02]", "queued")
    async with world.conn() as conn:
        await cancel(conn, world.org, second["id"])

    assert await drained(world) == days(3, 4)
    assert await lost(world) == 0


async def test_forty_thousand_hours_are_planned_hour_by_hour(database: Database) -> None:
    hours = {"dt": {"time": "hour", "start": "2010-01-01T00", "end": "2014-07-26T00"}}
    world = await World.made(
        database, source("a", hours), balance("a", DAY_BEFORE, partitioning=hours)
    )
    await world.changed("a")

    assert len(await unfinished(world)) == 1
    assert await world.run() == ["balance[2010-01-01T00]"]
    await world.plan()
    assert await world.run() == ["balance[2010-01-01T01]"]
    rows = await world.rows("SELECT FROM data_invalidations WHERE processed_at IS NULL")
    assert len(rows) <= 2


@dataclass
class History:
    """A random history of changes, plans, runs and cancellations."""

    world: World
    rng: random.Random
    window: tuple[int, int]
    running: list[Lease] = field(default_factory=list)

    async def change(self) -> None:
        first = self.rng.randint(1, 12)
        last = min(first + self.rng.choice((0, 0, 3)), 12)
        dataset = self.rng.choice(("a", "a", "b", "balance"))
        await self.world.change(dataset, f"2013-01-{first:02}..2013-01-{last:02}")

    async def plan(self) -> None:
        await self.world.plan()

    async def claim(self) -> None:
        for lease in await self.world.claim(limit=1):
            self.running.append(lease)
            if lease.job.name == "balance":
                day = date.fromisoformat(lease.block_key)
                first, last = (str(day + timedelta(offset)) for offset in self.window)
                earlier = [key for key in await unfinished(self.world) if first <= key <= last]
                assert not earlier, f"{day} runs before a day that it reads"

    async def finish(self) -> None:
        if self.running:
            lease = self.running.pop(self.rng.randrange(len(self.running)))
            await self.world.finish(lease, self.rng.choice(("x", "x", "y")))

    async def cancel(self) -> None:
        tasks = await self.world.rows("SELECT id FROM tasks WHERE status = 'queued' ORDER BY id")
        if tasks and self.rng.random() < 0.3:
            async with self.world.conn() as conn:
                await cancel(conn, self.world.org, tasks[0]["id"])


@pytest.mark.parametrize("seed", range(6))
async def test_random_changes_keep_the_order(database: Database, seed: int) -> None:
    rng = random.Random(seed)
    window = rng.choice(((-1, -1), (-3, -1), (-2, -2)))
    own = {"dataset": "self", "window": list(window)}
    jobs = (balance("a", "b", own), job("report", "balance", "a"))
    history = History(await World.made(database, source("a"), source("b"), *jobs), rng, window)

    for _ in range(80):
        step = rng.choice(
            ("change", "plan", "plan", "claim", "claim", "finish", "finish", "cancel")
        )
        await getattr(history, step)()
        assert await lost(history.world) == 0
    while history.running:
        await history.finish()
    await drained(history.world, balance="x")

    async with history.world.conn() as conn:
        counts = await audit_all(conn, history.world.org)
    assert (counts.lost, counts.in_hand) == (0, 0)


async def test_wider_bounds_recompute_nothing(database: Database) -> None:
    world = await built(database, 4)
    wider = {"dt": {"time": "day", "start": "2012-01-01", "end": "2015-01-01"}}

    await world.deploy(source("a", wider), balance(partitioning=wider))

    assert await drained(world) == []
    assert await lost(world) == 0
    await world.change("a", "2013-01-04..2013-01-05")
    assert await drained(world) == days(4, 5)


async def test_narrower_bounds_drop_the_first_days(database: Database) -> None:
    world = await built(database, 4)
    narrower = {"dt": {"time": "day", "start": "2013-01-03", "end": "2014-01-01"}}

    await world.deploy(source("a", narrower), balance(partitioning=narrower))

    assert set(await drained(world)) <= {*days(3, 4)}
    assert await lost(world) == 0
    await world.change("a", "2013-01-03")
    assert await drained(world) == days(3, 4)


async def test_a_range_is_a_chain_as_well(database: Database) -> None:
    numbers = {"n": {"range": 10, "start": 0, "end": 100}}
    own = {"dataset": "self", "window": [-1, -1]}
    world = await World.made(
        database, source("a", numbers), balance("a", own, partitioning=numbers)
    )
    await world.change("a", "0-9..20-29")

    assert await drained(world) == ["balance[0-9]", "balance[10-19]", "balance[20-29]"]
