"""Deploys that exceed a limit, and their approval."""

import json
from typing import Any
from uuid import UUID

import pytest

from engine.errors import InvalidInput
from engine.flow.deployment.deploy import approve, deploy
from engine.flow.deployment.deployment import Deployed
from engine.flow.planning.approve import Review, reject
from engine.flow.shared.org_context import OrgContext
from engine.model.dag import DagFile
from engine.model.dagfile import parse_dag
from engine.service.queries.plans import plan
from engine.store.database import Database
from engine.store.orgs import ensure_org, set_setting
from tests.support.worlds import World, job, source

WEEK = "2013-02-11..2013-02-17"
OTHER = {"config": {"callable": "else:where"}}


@pytest.fixture
async def world(database: Database) -> World:
    """A week of b and c in two DAGs; the org allows five partitions in a plan."""
    world = await World.made(database, source("a"), job("b", "a"), dag="above")
    await world.deploy(job("c", "b"), dag="below")
    await world.changed("a", WEEK)
    await world.run()
    async with world.conn() as conn:
        await set_setting(conn, world.org.id, "blast_radius", 5)
    return world


def file(*jobs: dict[str, Any], dag: str = "above") -> DagFile:
    text = f"# commented\n{json.dumps({'dag': dag, 'jobs': list(jobs)})}"
    return parse_dag(text, where=f"{dag}.yaml")


CHANGED = file(source("a"), job("b", "a", **OTHER))


async def limited(world: World, *dags: DagFile) -> Deployed:
    async with world.conn() as conn:
        return await deploy(conn, world.org, dags, "ann", is_limited=True)


async def pending(world: World, *dags: DagFile) -> UUID:
    done = await limited(world, *dags)
    assert done.pending_plan is not None
    return done.pending_plan


async def approved(world: World, plan_id: UUID) -> Review:
    async with world.conn() as conn:
        return await approve(conn, world.org, plan_id, "bob")


async def written(world: World) -> list[Any]:
    """The deployed versions and open work."""
    return await world.rows(
        "SELECT dag_version_id::text AS id FROM dag_current_versions "
        "UNION ALL SELECT id::text FROM dag_deploys "
        "UNION ALL SELECT id::text FROM dataset_versions UNION ALL "
        "SELECT id::text FROM data_invalidations WHERE processed_at IS NULL UNION ALL "
        "SELECT id::text FROM tasks ORDER BY id"
    )


async def test_a_deploy_beyond_a_limit_deploys_nothing(world: World) -> None:
    before = await written(world)
    done = await limited(world, CHANGED)
    assert [str(each) for each in done.exceeded_limits] == [
        "14 partitions in all; the org allows 5 in one plan"
    ]
    assert (done.dags[0].version_id, done.tasks) == (None, 14)
    assert await written(world) == before
    assert await world.run() == []


async def test_the_approval_deploys_the_files(world: World) -> None:
    plan_id = await pending(world, CHANGED, file(job("c", "b", **OTHER), dag="below"))
    done = await approved(world, plan_id)
    assert (done.state, done.tasks, done.changes) == ("applied", 14, ())
    assert len(await world.run()) == 14
    rows = await world.rows(
        "SELECT v.file, d.deployed_by FROM dag_current_versions c JOIN dag_versions v "
        "ON v.id = c.dag_version_id JOIN dag_deploys d ON d.dag_version_id = v.id"
    )
    assert {row["deployed_by"] for row in rows} == {"ann"}
    (plan,) = await world.rows("SELECT decided_by FROM plans WHERE id = %s", plan_id)
    assert plan["decided_by"] == "bob"
    assert all(row["file"].startswith("# commented") for row in rows)
    assert not (await approved(world, plan_id)).is_new


async def test_a_repeated_deploy_has_the_same_plan(world: World) -> None:
    plan_id = await pending(world, CHANGED)
    await world.changed("a", "2013-03-01")
    await world.run()
    assert await pending(world, CHANGED) == plan_id
    stored = "SELECT task_count, exceeded_limits FROM plans WHERE id = %s"
    limits = "16 partitions in all; the org allows 5 in one plan"
    assert await world.rows(stored, plan_id) == [{"task_count": 16, "exceeded_limits": limits}]
    other = file(source("a"), job("b", "a", config={"callable": "third:one"}))
    assert await pending(world, other) != plan_id


async def test_within_the_limit_nothing_is_pending(world: World) -> None:
    done = await limited(world, file(source("a"), job("b", "a"), job("d", "a", **OTHER)))
    assert done.pending_plan is not None
    done = await limited(world, file(source("a"), source("z"), job("b", "a"), job("y", "z")))
    assert (done.pending_plan, done.tasks) == (None, 0)


async def test_the_limit_of_a_job_counts(world: World) -> None:
    async with world.conn() as conn:
        await set_setting(conn, world.org.id, "blast_radius", None)
    job_limit = job("b", "a", scaling={"blast_radius": 6}, **OTHER)
    done = await limited(world, file(source("a"), job_limit))
    assert [str(each) for each in done.exceeded_limits] == [
        "7 partitions of job b; job b allows 6 in one plan"
    ]


async def test_differences_since_the_deploy_are_returned(world: World) -> None:
    plan_id = await pending(world, CHANGED)
    await world.changed("a", "2013-03-01")
    await world.run()
    done = await approved(world, plan_id)
    assert {(each.job, each.more) for each in done.changes} == {
        ("b", ("2013-03-01",)),
        ("c", ("2013-03-01",)),
    }
    assert done.tasks == 16


async def test_unchanged_files_are_no_part_of_a_pending_deploy(world: World) -> None:
    plan_id = await pending(world, file(job("c", "b"), dag="below"), CHANGED)
    (plan,) = await world.rows("SELECT event FROM plans WHERE id = %s", plan_id)
    assert [each["dag"] for each in plan["event"]["deploy"]] == ["above"]
    await world.deploy(job("c", "b", description="other"), dag="below")
    assert (await approved(world, plan_id)).tasks == 14


async def test_a_pending_deploy_shows_the_changed_jobs(world: World) -> None:
    added = job("d", "a")
    plan_id = await pending(world, file(source("a"), job("b", "a", **OTHER), added))
    shown = await plan(world.caller, world.service, str(plan_id))
    assert (shown.changes["above"].added, shown.changes["above"].changed) == (
        ("d",),
        {"b": ("config",)},
    )


async def test_a_dag_deployed_meanwhile_is_not_overwritten(world: World) -> None:
    plan_id = await pending(world, CHANGED)
    await world.deploy(source("a"), job("b", "a"), source("z"), dag="above")
    with pytest.raises(InvalidInput, match="'above' has been deployed with another file"):
        await approved(world, plan_id)
    async with world.conn() as conn:
        done = await reject(conn, world.org, plan_id, "bob")
    assert (done.state, done.invalidations) == ("rejected", ())
    assert await world.run() == []


async def test_a_new_dag_deployed_meanwhile_is_not_overwritten(world: World) -> None:
    plan_id = await pending(world, file(job("d", "b"), dag="new"))
    await world.deploy(job("d", "a"), dag="new")
    with pytest.raises(InvalidInput, match="'new' has been deployed with another file"):
        await approved(world, plan_id)


async def test_each_org_has_its_own_plan_for_the_same_files(world: World) -> None:
    async with world.conn() as conn:
        other = World(world.database, OrgContext(await ensure_org(conn, "other")))
    await other.deploy(source("a"), job("b", "a"), dag="above")
    await other.changed("a", WEEK)
    await other.run()
    async with world.conn() as conn:
        await set_setting(conn, other.org.id, "blast_radius", 5)
    ours, theirs = await pending(world, CHANGED), await pending(other, CHANGED)
    assert ours != theirs
    assert (await approved(world, ours)).tasks == 14
    assert (await approved(other, theirs)).tasks == 7


async def test_a_rejected_deploy_leaves_nothing_stale(world: World) -> None:
    plan_id = await pending(world, CHANGED)
    async with world.conn() as conn:
        await reject(conn, world.org, plan_id, "bob")
    assert await world.rows("SELECT * FROM stale_decisions") == []
    with pytest.raises(InvalidInput, match="already been rejected: deploy the files again"):
        await approved(world, plan_id)
