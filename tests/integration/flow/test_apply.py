"""Applying a proposed plan: it runs once exactly as shown, or is refused with the changes."""

import asyncio
from datetime import timedelta
from uuid import UUID, uuid4

import pytest

from engine.errors import InvalidInput, UnknownName
from engine.flow.deployment.apply import Applied, apply
from engine.flow.deployment.propose import Proposal, propose
from engine.flow.deployment.trim_proposals import trim
from engine.flow.planning.approve import approve
from engine.model.event import SourceEvent
from engine.model.task import Output
from engine.store.database import Database
from tests.integration.flow.test_races import waiting
from tests.support.worlds import WEEKLY, World, finding_job, job, source

WEEK = "2013-02-11..2013-02-17"
DAYS = [f"2013-02-{n}" for n in range(11, 18)]
JOBS = (source("a"), job("b", "a"), job("c", "b", partitioning=WEEKLY))


async def proposed(world: World, *partitions: str, **more: object) -> Proposal:
    event = SourceEvent(dataset="a", partitions=partitions or None, **more)  # type: ignore[arg-type]
    async with world.conn() as conn:
        return await propose(conn, world.org, event)


async def applied(world: World, plan_id: UUID, by: str | None = None) -> Applied:
    async with world.conn() as conn:
        return await apply(conn, world.org, plan_id, by)


async def counts(world: World) -> list[dict[str, object]]:
    return await world.rows(
        "SELECT (SELECT count(*) FROM tasks) AS tasks, (SELECT count(*) FROM data_invalidations)"
        " AS invalidations, (SELECT count(*) FROM partition_versions) AS partitions"
    )


async def test_applying_a_proposal_runs_the_previewed_plan(database: Database) -> None:
    world = await World.made(database, *JOBS)
    shown = await proposed(world, WEEK)
    done = await applied(world, shown.plan_id, "ann")
    assert (done.tasks, done.is_new, done.changes) == (8, True, ())
    (kept,) = await world.rows("SELECT * FROM plans WHERE id = %s", shown.plan_id)
    assert (kept["state"], kept["decided_by"]) == ("applied", "ann")
    assert tuple(kept["invalidation_ids"]) == done.invalidations
    assert kept["document"]["steps"][0]["partitions"] == [WEEK]
    tasks = await world.rows("SELECT DISTINCT plan_ids FROM tasks")
    assert tasks == [{"plan_ids": [shown.plan_id]}]
    assert await world.run() == [*(f"b[{day}]" for day in DAYS), "c[2013-W07]"]


async def test_applying_a_proposal_plans_only_its_own_invalidation(database: Database) -> None:
    world = await World.made(database, *JOBS)
    shown = await proposed(world, "2013-02-11")
    (other,) = (await world.change("a", "2013-03-01")).invalidations
    done = await applied(world, shown.plan_id)
    assert other not in done.invalidations
    assert (await world.tasks("b")) == {"queued": ["b[2013-02-11]"]}
    (invalidation,) = await world.rows(
        "SELECT processed_at FROM data_invalidations WHERE id = %s", other
    )
    assert invalidation == {"processed_at": None}


async def test_applying_a_proposal_again_changes_nothing(database: Database) -> None:
    world = await World.made(database, *JOBS)
    shown = await proposed(world, WEEK)
    first = await applied(world, shown.plan_id)
    await world.run()
    before = await counts(world)
    again = await applied(world, shown.plan_id)
    assert (again.is_new, again.invalidations, again.tasks) == (False, first.invalidations, 8)
    assert await counts(world) == before


async def test_concurrent_applications_apply_a_proposal_once(database: Database) -> None:
    world = await World.made(database, *JOBS)
    shown = await proposed(world, WEEK)
    async with world.conn() as one, world.conn() as two:
        async with one.transaction():
            first = await apply(one, world.org, shown.plan_id)
            async with waiting(world, two):
                late = asyncio.create_task(apply(two, world.org, shown.plan_id))
        second = await late
    assert (first.is_new, second.is_new) == (True, False)
    assert (await counts(world))[0]["tasks"] == 8


async def test_a_deploy_of_unrelated_jobs_is_no_difference(database: Database) -> None:
    world = await World.made(database, *JOBS)
    shown = await proposed(world, WEEK)
    await world.deploy(*JOBS, source("z"), job("y", "z"))
    done = await applied(world, shown.plan_id)
    assert (done.changes, done.tasks) == ((), 8)


async def test_differences_are_listed_by_job_and_prevent_the_application(
    database: Database,
) -> None:
    world = await World.made(database, *JOBS, job("d", "a"))
    shown = await proposed(world, WEEK)
    await world.deploy(
        source("a"),
        job("b", "a"),
        job("c", {"dataset": "b", "mapping": {"dt": {"from": "dt", "window": [-1, 0]}}},
            partitioning=WEEKLY),
        job("e", "a"),
    )  # fmt: skip
    before = await counts(world)
    done = await applied(world, shown.plan_id)
    assert [(each.job, each.kind, each.more, each.fewer) for each in done.changes] == [
        ("e", "new", (WEEK,), ()),
        ("d", "gone", (), (WEEK,)),
        ("c", "different", ("2013-W08",), ()),
    ]
    assert (done.invalidations, done.tasks) == ((), 0)
    assert await counts(world) == before
    (kept,) = await world.rows("SELECT state FROM plans WHERE id = %s", shown.plan_id)
    assert kept == {"state": "proposed"}


async def test_a_changed_number_of_partitions_per_task_is_a_difference(database: Database) -> None:
    world = await World.made(database, *JOBS)
    shown = await proposed(world, WEEK)
    b = job("b", "a", scaling={"partitions_per_task": 7})
    await world.deploy(source("a"), b, JOBS[2])
    done = await applied(world, shown.plan_id)
    (change,) = done.changes
    assert (change.job, change.notes) == ("b", ("partitions per task: 1 before, 7 now",))
    assert done.tasks == 0


async def test_partitions_created_since_the_preview_are_a_difference(database: Database) -> None:
    world = await World.made(database, *JOBS)
    await world.changed("a", "2013-02-11")
    await world.run()
    shown = await proposed(world)
    await world.changed("a", "2013-02-20")
    changes = (await applied(world, shown.plan_id)).changes
    assert [(each.job, each.more) for each in changes] == [
        ("b", ("2013-02-20",)),
        ("c", ("2013-W08",)),
    ]


async def test_the_first_partition_found_since_the_preview_is_a_difference(
    database: Database,
) -> None:
    world = await World.made(database, source("a"), finding_job("f", "a"))
    shown = await proposed(world)
    await world.changed("a")
    (lease,) = await world.claim()
    await world.complete(lease, Output("f", "K"))
    (change,) = (await applied(world, shown.plan_id)).changes
    assert (change.job, change.more, change.notes) == ("f", ("K",), ())


async def test_applying_a_proposal_for_a_removed_dataset_is_rejected(database: Database) -> None:
    world = await World.made(database, *JOBS)
    shown = await proposed(world, WEEK)
    await world.deploy(source("other"))
    with pytest.raises(UnknownName, match="no dataset a"):
        await applied(world, shown.plan_id)
    assert await world.rows("SELECT id FROM dead_letters") == []


async def test_only_a_proposed_plan_is_applied(database: Database) -> None:
    world = await World.made(database, *JOBS)
    shown = await proposed(world, WEEK)
    with pytest.raises(UnknownName, match="knockon plans"):
        await applied(world, uuid4())
    async with world.conn() as conn:
        with pytest.raises(InvalidInput, match="knockon apply"):
            await approve(conn, world.org, shown.plan_id)


async def test_only_old_proposals_are_trimmed(database: Database) -> None:
    world = await World.made(database, *JOBS)
    old, new, used = [(await proposed(world, WEEK)).plan_id for _ in range(3)]
    await applied(world, used)
    await world.rows(
        "UPDATE plans SET created_at = created_at - %s WHERE id = ANY(%s) RETURNING id",
        timedelta(days=8),
        [old, used],
    )
    async with world.conn() as conn:
        assert await trim(conn, world.org) == 1
        assert await trim(conn, world.org) == 0
    left = {row["id"] for row in await world.rows("SELECT id FROM plans")}
    assert old not in left
    assert {new, used} <= left
