"""Plans that exceed a limit: pending, approved, rejected, and other work in the meantime."""

import asyncio
import json
from typing import Any
from uuid import UUID

import pytest

from engine.errors import InvalidInput
from engine.flow.deployment.apply import apply
from engine.flow.deployment.deploy import deploy
from engine.flow.deployment.propose import propose
from engine.flow.ingestion.ingest import ingest
from engine.flow.planning.approve import Review, approve, reject
from engine.flow.planning.plan import Planned, plan
from engine.flow.shared.org_context import OrgContext
from engine.model.dagfile import parse_dag
from engine.model.event import Batch, Delivery, Received, SourceEvent
from engine.model.task import Output
from engine.store.database import Database
from engine.store.orgs import set_setting
from tests.integration.flow.test_races import waiting
from tests.support.worlds import DAILY, World, finding_job, job, source

DAY, NEXT = "2013-02-11", "2013-02-12"
WEEK = "2013-02-11..2013-02-17"
JOBS = (source("a"), source("z"), job("b", "a"), job("c", "b"), job("y", "z"))


async def limited(database: Database, limit: int = 5, *jobs: dict[str, Any]) -> World:
    world = await World.made(database, *(jobs or JOBS))
    await limit_to(world, limit)
    return world


async def limit_to(world: World, limit: int | None) -> None:
    async with world.conn() as conn:
        await set_setting(conn, world.org.id, "blast_radius", limit)


async def pending(world: World, dataset: str = "a", *partitions: str, **more: Any) -> Planned:
    await world.change(dataset, *(partitions or (WEEK,)), **more)
    planned = await world.plan()
    assert planned is not None
    assert planned.exceeded_limits
    return planned


async def approved(world: World, plan_id: UUID, by: str | None = None) -> Review:
    async with world.conn() as conn:
        return await approve(conn, world.org, plan_id, by)


async def rejected(world: World, plan_id: UUID) -> Review:
    async with world.conn() as conn:
        return await reject(conn, world.org, plan_id, "bob")


async def invalidations(world: World) -> list[dict[str, Any]]:
    return await world.rows(
        "SELECT d.name AS dataset, i.outcome, i.processed_at IS NULL AS open, i.plan_id "
        "FROM data_invalidations i JOIN datasets d ON d.id = i.dataset_uuid "
        "WHERE i.reason <> 'definition_change' ORDER BY i.id"
    )


async def test_a_plan_beyond_the_limit_of_the_org_is_pending(database: Database) -> None:
    world = await limited(database)
    planned = await pending(world)
    assert [str(each) for each in planned.exceeded_limits] == [
        "14 partitions in all; the org allows 5 in one plan"
    ]
    assert await world.tasks() == {}
    assert await world.plan() is None, "it is not planned again"
    (invalidation,) = await invalidations(world)
    assert (invalidation["open"], invalidation["outcome"], invalidation["plan_id"]) == (
        True,
        "pending_approval",
        planned.plan_id,
    )
    (kept,) = await world.rows("SELECT * FROM plans WHERE id = %s", planned.plan_id)
    assert (kept["state"], kept["task_count"]) == ("pending_approval", 14)
    assert kept["estimate"]["unknown_seconds"] == 2


async def test_a_plan_within_the_limit_is_not_pending(database: Database) -> None:
    world = await limited(database, 14)
    await world.changed("a", WEEK)
    assert len((await world.tasks("b"))["queued"]) == 7


async def test_a_job_may_have_its_own_limit(database: Database) -> None:
    world = await World.made(
        database, source("a"), job("b", "a"), job("c", "a", scaling={"blast_radius": 6})
    )
    planned = await pending(world)
    assert [str(each) for each in planned.exceeded_limits] == [
        "7 partitions of job c; job c allows 6 in one plan"
    ]
    await world.changed("a", "2013-02-11..2013-02-16")
    assert len((await world.tasks("c"))["queued"]) == 6


async def test_a_single_run_job_counts_as_one_partition(database: Database) -> None:
    world = await limited(
        database, 8, source("a"), job("b", "a"), job("f", "a", execution_strategy="Full")
    )
    await world.changed("a", WEEK)
    assert len((await world.tasks())["queued"]) == 8


async def test_other_invalidations_of_the_batch_are_planned(database: Database) -> None:
    world = await limited(database)
    await world.change("z", DAY)
    await world.change("a", WEEK)
    await world.change("z", NEXT)
    first, second = await world.plan(), await world.plan()
    assert first is not None
    assert second is not None
    assert (first.exceeded_limits, bool(second.exceeded_limits)) == ((), True)
    assert await world.plan() is None
    assert [each["outcome"] for each in await invalidations(world)] == [
        "planned",
        "pending_approval",
        "planned",
    ]
    assert await world.run() == [f"y[{DAY}]", f"y[{NEXT}]"]


async def test_limits_apply_to_each_changed_dataset_separately(database: Database) -> None:
    world = await limited(database, 7)
    await world.change("a", "2013-02-11..2013-02-13")
    await world.change("z", "2013-02-11..2013-02-13")
    while await world.plan():
        pass
    assert [each["outcome"] for each in await invalidations(world)] == ["planned", "planned"]


async def test_an_approved_plan_runs(database: Database) -> None:
    world = await limited(database)
    plan_id = (await pending(world)).plan_id
    done = await approved(world, plan_id, "ann")
    assert (done.state, done.tasks, done.is_new, done.changes) == ("applied", 14, True, ())
    (invalidation,) = await invalidations(world)
    assert (invalidation["open"], invalidation["outcome"], invalidation["plan_id"]) == (
        False,
        "planned",
        plan_id,
    )
    (kept,) = await world.rows("SELECT * FROM plans WHERE id = %s", plan_id)
    assert (kept["state"], kept["decided_by"]) == ("applied", "ann")
    assert len(await world.run()) == 14


async def test_a_plan_approved_twice_runs_once(database: Database) -> None:
    world = await limited(database)
    plan_id = (await pending(world)).plan_id
    await approved(world, plan_id)
    again = await approved(world, plan_id)
    assert (again.is_new, again.tasks) == (False, 14)
    assert len(await world.run()) == 14


async def test_an_approval_plans_again_and_reports_the_differences(
    database: Database,
) -> None:
    world = await limited(database)
    plan_id = (await pending(world)).plan_id
    await world.deploy(*JOBS, job("d", "b"))
    done = await approved(world, plan_id)
    assert [(each.job, each.kind, each.more) for each in done.changes] == [("d", "new", (WEEK,))]
    assert len(await world.run()) == 21


async def test_all_columns_of_a_new_partition_count_as_changed_on_approval(
    database: Database,
) -> None:
    world = await limited(
        database, 1, source("a"), job("b", "a", columns={"y": ["a.x"]}), job("c", "b")
    )
    plan_id = (await pending(world, "a", DAY, columns=("x",))).plan_id
    await limit_to(world, None)
    await world.changed("a", DAY, columns=("notes",))
    assert await world.run() == [f"b[{DAY}]", f"c[{DAY}]"], "a later one plans it as new too"
    assert (await approved(world, plan_id)).tasks == 2


async def test_a_rejected_plan_runs_nothing(database: Database) -> None:
    world = await limited(database)
    plan_id = (await pending(world)).plan_id
    assert (await rejected(world, plan_id)).is_new
    assert not (await rejected(world, plan_id)).is_new
    (invalidation,) = await invalidations(world)
    assert (invalidation["open"], invalidation["outcome"], invalidation["plan_id"]) == (
        False,
        "rejected",
        plan_id,
    )
    assert await world.plan() is None
    assert await world.tasks() == {}
    (kept,) = await world.rows("SELECT state, decided_by FROM plans WHERE id = %s", plan_id)
    assert kept == {"state": "rejected", "decided_by": "bob"}


async def test_an_event_after_a_rejection_is_planned(database: Database) -> None:
    world = await limited(database)
    await rejected(world, (await pending(world)).plan_id)
    await world.changed("a", DAY)
    assert await world.run() == [f"b[{DAY}]", f"c[{DAY}]"]


async def test_a_decided_plan_cannot_be_decided_differently(database: Database) -> None:
    world = await limited(database)
    yes, no = (await pending(world)).plan_id, (await pending(world)).plan_id
    await approved(world, yes)
    await rejected(world, no)
    with pytest.raises(InvalidInput, match="has already been applied"):
        await rejected(world, yes)
    with pytest.raises(InvalidInput, match="has already been rejected"):
        await approved(world, no)
    async with world.conn() as conn:
        with pytest.raises(InvalidInput, match="has already been rejected"):
            await apply(conn, world.org, no)


async def test_new_events_are_planned_independently_of_pending_plans(
    database: Database,
) -> None:
    world = await limited(database)
    first = await pending(world)
    await world.changed("a", DAY)
    assert await world.run() == [f"b[{DAY}]", f"c[{DAY}]"]
    second = await pending(world)
    assert second.plan_id != first.plan_id
    assert (await approved(world, first.plan_id)).tasks == 14
    assert [each["outcome"] for each in await invalidations(world)] == [
        "planned",
        "planned",
        "pending_approval",
    ]
    await rejected(world, second.plan_id)
    assert len(await world.run()) == 14


async def test_a_deploy_by_the_code_needs_no_approval(database: Database) -> None:
    world = await limited(database)
    await limit_to(world, None)
    await world.changed("a", WEEK)
    await world.run()
    await limit_to(world, 5)
    changed = job("b", "a", config={"callable": "else:where"})
    done = await world.deploy(source("a"), source("z"), changed, job("c", "b"), job("y", "z"))
    assert done.tasks == 14


async def test_a_deploy_does_not_decide_pending_plans(database: Database) -> None:
    world = await limited(database)
    plan_id = (await pending(world)).plan_id
    cut_otherwise = {"dt": DAILY["dt"] | {"zone": "America/New_York"}}
    await world.deploy(source("a", cut_otherwise), job("b", "a"))
    assert await world.plan() is None
    done = await approved(world, plan_id)
    assert done.tasks == 0, "that dataset version is not current any more"
    assert {each.kind for each in done.changes} == {"gone"}
    (invalidation,) = await invalidations(world)
    assert (invalidation["open"], invalidation["outcome"]) == (False, "not_current")


async def _removed(world: World, *, during: bool) -> tuple[UUID, list[dict[str, Any]]]:
    """Return a pending plan of a change of ``a``, removed if ``during``, and the jobs to return."""
    kept, removed = [source("z")], [source("a"), job("b", "a")]
    await world.deploy(*removed, *kept)
    await world.changed("a", DAY)
    await world.run()
    await limit_to(world, 0)
    plan_id = (await pending(world, "a", NEXT)).plan_id
    await limit_to(world, None)
    await world.deploy(*kept)
    if not during:
        await world.deploy(*removed, *kept)
    return plan_id, [*removed, *kept]


@pytest.mark.parametrize("during", [True, False])
async def test_a_plan_approved_around_the_removal_of_its_source_is_not_lost(
    database: Database, during: bool
) -> None:
    world = await World.made(database, source("z"))
    plan_id, jobs = await _removed(world, during=during)
    await approved(world, plan_id)
    await world.deploy(*jobs)
    await world.plan()
    assert sorted(await world.run()) == [f"b[{DAY}]", f"b[{NEXT}]"]


@pytest.mark.parametrize("during", [True, False])
async def test_a_plan_rejected_around_the_removal_of_its_source_stays_rejected(
    database: Database, during: bool
) -> None:
    world = await World.made(database, source("z"))
    plan_id, jobs = await _removed(world, during=during)
    await rejected(world, plan_id)
    await world.deploy(*jobs)
    assert await world.plan() is None
    assert await world.run() == [f"b[{DAY}]"]
    assert [row["outcome"] for row in await invalidations(world)][-1] == "rejected"


async def test_applying_a_pending_plan_approves_it(database: Database) -> None:
    world = await limited(database)
    async with world.conn() as conn:
        shown = await propose(conn, world.org, SourceEvent(dataset="a", partitions=(WEEK,)))
        assert [str(each) for each in shown.exceeded_limits] == [
            "14 partitions in all; the org allows 5 in one plan"
        ]
        assert (await apply(conn, world.org, shown.plan_id)).tasks == 14


async def test_a_rejection_raises_content_versions_of_existing_partitions_only(
    database: Database,
) -> None:
    world = await limited(database)
    await world.changed("a", DAY)
    versions = "SELECT partition_key, materialized_at FROM partition_versions ORDER BY 1"
    (before,) = await world.rows(versions)
    await rejected(world, (await pending(world)).plan_id)
    (after,) = await world.rows(versions)
    assert after["partition_key"] == before["partition_key"] == DAY
    assert after["materialized_at"] > before["materialized_at"]


async def test_concurrent_approvals_approve_a_plan_once(database: Database) -> None:
    world = await limited(database)
    plan_id = (await pending(world)).plan_id
    async with world.conn() as one, world.conn() as two:
        async with one.transaction():
            first = await approve(one, world.org, plan_id)
            async with waiting(world, two):
                late = asyncio.create_task(approve(two, world.org, plan_id))
        second = await late
    assert (first.is_new, second.is_new) == (True, False)
    assert len(await world.run()) == 14


async def test_the_first_of_a_concurrent_approval_and_rejection_wins(
    database: Database,
) -> None:
    world = await limited(database)
    plan_id = (await pending(world)).plan_id
    async with world.conn() as one, world.conn() as two:
        async with one.transaction():
            await reject(one, world.org, plan_id)
            async with waiting(world, two):
                late = asyncio.create_task(approve(two, world.org, plan_id))
        with pytest.raises(InvalidInput, match="has already been rejected"):
            await late
    assert await world.tasks() == {}


async def test_an_approval_waits_for_a_deploy_and_plans_with_the_new_version(
    database: Database,
) -> None:
    world = await limited(database)
    plan_id = (await pending(world)).plan_id
    dag = parse_dag(json.dumps({"dag": "w", "jobs": [*JOBS, job("d", "b")]}), where="w.yaml")
    async with world.conn() as one, world.conn() as two:
        async with one.transaction():
            await deploy(one, OrgContext(world.org.id), [dag])
            async with waiting(world, two):
                late = asyncio.create_task(approve(two, OrgContext(world.org.id), plan_id))
        done = await late
    assert [(each.job, each.kind) for each in done.changes] == [("d", "new")]
    assert len(await world.run()) == 21


async def test_an_interrupted_approval_leaves_the_plan_pending(database: Database) -> None:
    world = await limited(database)
    plan_id = (await pending(world)).plan_id
    async with world.conn() as conn, conn.transaction(force_rollback=True):
        await approve(conn, world.org, plan_id)
    assert await world.tasks() == {}
    assert (await invalidations(world))[0]["outcome"] == "pending_approval"
    assert (await approved(world, plan_id)).is_new


async def test_a_rolled_back_pending_plan_is_planned_again(
    database: Database,
) -> None:
    world = await limited(database)
    await world.change("a", WEEK)
    async with world.conn() as conn, conn.transaction(force_rollback=True):
        assert await plan(conn, world.org) is not None
    assert [each["outcome"] for each in await invalidations(world)] == [None]
    assert (await world.plan()).exceeded_limits  # type: ignore[union-attr]


async def test_many_events_for_one_dataset_are_one_pending_plan(database: Database) -> None:
    world = await limited(database)
    received = tuple(
        Received.one(SourceEvent(dataset="a", partitions=(day,)), Delivery("s", day))
        for day in [f"2013-02-{n:02}" for n in range(1, 29)]
    )
    async with world.conn() as conn:
        await ingest(conn, world.org, Batch(consumer="k", received=received))
    planned = await world.plan()
    assert planned is not None
    assert planned.exceeded_limits[0].partitions == 56
    assert await world.plan() is None


SINGLE = (source("a", {}), source("z", {}), job("b", "a", partitioning={}))


async def test_a_plan_is_approved_after_a_run_has_found_the_first_partition(
    database: Database,
) -> None:
    world = await limited(database, 1, *SINGLE, finding_job("f", "a", "z"))
    planned = await pending(world, "a", "*")
    await world.changed("z")
    (lease,) = await world.claim()
    await world.complete(lease, Output("f", "K"))
    review = await approved(world, planned.plan_id)
    (change,) = review.changes
    assert (change.job, change.more, change.fewer, change.notes) == ("f", ("K",), (), ())
    assert (await world.tasks())["queued"] == ["b[*]", "f[*]"]


async def test_a_plan_is_approved_after_a_deploy_of_a_job_without_partitions(
    database: Database,
) -> None:
    world = await limited(database, 1, *SINGLE, job("c", "a", partitioning={}))
    planned = await pending(world, "a", "*")
    await world.deploy(*SINGLE, finding_job("f", "a"))
    review = await approved(world, planned.plan_id)
    assert [(each.job, each.kind, each.more, each.fewer) for each in review.changes] == [
        ("f", "new", (), ()),
        ("c", "gone", (), ("*",)),
    ]
    assert (await world.tasks())["queued"] == ["b[*]", "f[*]"]
