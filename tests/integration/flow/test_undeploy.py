"""Undeploys end the work of a DAG; a later deploy builds only what has become stale meanwhile."""

import json
from typing import Any

import pytest

from engine.errors import InvalidInput, LeaseLost, UnknownName
from engine.flow.deployment.deploy import preview
from engine.flow.deployment.undeploy import Undeployment, preview_undeploy, undeploy
from engine.flow.execution.cancel import cancel_all
from engine.flow.ingestion.schedules import fire_due
from engine.flow.planning.approve import approve
from engine.flow.planning.audit import audit_all
from engine.flow.retention.archive import archive
from engine.flow.retention.publish import publish
from engine.flow.shared.pauses import pause, resume
from engine.model.dagfile import parse_dag
from engine.model.states import PauseKind, TaskStatus
from engine.store.database import Database
from engine.store.orgs import set_setting
from tests.support.worlds import World, finding_job, job, source

DAY, NEXT, THIRD = "2013-02-13", "2013-02-14", "2013-02-15"
BELOW = (job("c", "b"), job("d", "c"))


@pytest.fixture
async def world(database: Database) -> World:
    """Source a and b in one DAG; c and d, which read b, in another; two days are built."""
    world = await World.made(database, source("a"), job("b", "a"))
    await world.deploy(*BELOW, dag="below")
    await world.changed("a", DAY, NEXT)
    await world.run()
    return world


async def undeployed(world: World, dag: str = "below", **more: Any) -> Undeployment:
    async with world.conn() as conn:
        return await undeploy(conn, world.org, dag, "ann", **more)


async def lost(world: World) -> int:
    async with world.conn() as conn:
        return (await audit_all(conn, world.org)).lost


async def test_an_undeploy_ends_tasks_and_closes_invalidations(world: World) -> None:
    await world.changed("a", DAY)
    await world.change("c", NEXT)
    done = await undeployed(world)
    assert (done.tasks, done.invalidations, done.datasets) == (2, 1, ("c", "d"))
    assert await world.run() == [f"b[{DAY}]"]
    assert await world.plan() is None
    assert await lost(world) == 0
    with pytest.raises(UnknownName):
        await world.change("c", DAY)


async def test_an_undeploy_is_an_event(world: World) -> None:
    await undeployed(world)
    async with world.conn() as conn:
        await publish(conn)
    rows = await world.rows("SELECT kind, detail FROM events ORDER BY position DESC LIMIT 1")
    assert rows == [{"kind": "dag.undeployed", "detail": {"dag": "below"}}]


async def test_a_preview_changes_nothing(world: World) -> None:
    await world.changed("a", DAY)
    async with world.conn() as conn:
        shown = await preview_undeploy(conn, world.org, "below")
    assert shown == await undeployed(world)


@pytest.mark.parametrize("dag", ["w", "sources"])
async def test_readers_in_other_dags_prevent_an_undeploy(world: World, dag: str) -> None:
    await world.deploy(source("s"), dag="sources")
    await world.deploy(job("t", "s"), dag="reader")
    expected = {"w": "below.c reads b", "sources": "reader.t reads s"}[dag]
    with pytest.raises(InvalidInput, match=expected):
        await undeployed(world, dag)
    await undeployed(world, {"w": "below", "sources": "reader"}[dag])
    await undeployed(world, dag)


async def test_an_unknown_dag_is_named(world: World) -> None:
    await undeployed(world)
    for dag in ("below", "other"):
        with pytest.raises(UnknownName, match=f"no DAG '{dag}' deployed"):
            await undeployed(world, dag)


async def test_a_redeploy_builds_nothing_that_is_valid(world: World) -> None:
    await undeployed(world)
    again = await world.deploy(*BELOW, dag="below")
    assert (again.dags[0].is_restored, again.tasks) == (True, 0)
    assert await world.run() == []
    await world.changed("a", DAY)
    assert await world.run() == [f"b[{DAY}]", f"c[{DAY}]", f"d[{DAY}]"]
    assert await lost(world) == 0


async def test_a_redeploy_builds_what_was_canceled_with_the_dag(world: World) -> None:
    await world.changed("a", DAY)
    await world.run(b="b2")
    await world.changed("a", NEXT)
    (lease,) = await world.claim()
    await world.finish(lease)
    await undeployed(world)
    async with world.conn() as conn:
        await archive(conn, world.org, 0)
    again = await world.deploy(*BELOW, dag="below")
    assert again.tasks == 2
    assert await world.run() == [f"c[{NEXT}]", f"d[{NEXT}]"]
    assert await lost(world) == 0


async def test_a_redeploy_follows_tasks_of_its_inputs_in_progress(world: World) -> None:
    await world.changed("a", DAY)
    await undeployed(world)
    await world.deploy(*BELOW, dag="below")
    assert await world.run() == [f"b[{DAY}]"]
    await world.plan()
    assert await world.run() == [f"c[{DAY}]", f"d[{DAY}]"]
    assert await lost(world) == 0


async def test_a_redeploy_builds_a_request_beyond_the_inputs(world: World) -> None:
    await world.changed("d", THIRD)
    await undeployed(world)
    await world.deploy(*BELOW, dag="below")
    assert await world.run() == [f"d[{THIRD}]"]


async def test_a_redeploy_plans_what_was_not_planned_yet(world: World) -> None:
    await world.change("d", DAY)
    async with world.conn() as conn:
        await pause(conn, world.org, PauseKind.ORG, "")
    await undeployed(world)
    await world.deploy(*BELOW, dag="below")
    assert await world.run() == []
    async with world.conn() as conn:
        await resume(conn, world.org, PauseKind.ORG, "")
    await world.plan()
    assert await world.run() == [f"d[{DAY}]"]


async def test_a_redeploy_builds_changes_and_new_partitions_of_its_inputs(world: World) -> None:
    await undeployed(world)
    await world.changed("a", DAY, THIRD)
    await world.run()
    again = await world.deploy(*BELOW, dag="below")
    assert again.tasks == 4
    built = await world.run()
    assert sorted(built) == [f"c[{DAY}]", f"c[{THIRD}]", f"d[{DAY}]", f"d[{THIRD}]"]
    assert await lost(world) == 0


async def test_a_redeploy_follows_a_new_version_of_its_input(world: World) -> None:
    await undeployed(world)
    await world.deploy(source("a"), job("b", "a", config={"callable": "else:where"}))
    await world.deploy(*BELOW, dag="below")
    built = await world.run()
    assert sorted(built) == sorted(f"{name}[{day}]" for name in "bcd" for day in (DAY, NEXT))
    assert await lost(world) == 0


async def test_a_redeploy_with_a_changed_job_builds_that_job(world: World) -> None:
    await undeployed(world)
    changed = (BELOW[0], job("d", "c", config={"callable": "else:where"}))
    async with world.conn() as conn:
        text = json.dumps({"dag": "below", "jobs": list(changed)})
        shown = await preview(conn, world.org, [parse_dag(text, where="f")])
    again = await world.deploy(*changed, dag="below")
    assert shown.dags[0].diff == again.dags[0].diff
    assert list(again.dags[0].diff.regenerated) == ["d"]
    assert sorted(await world.run()) == [f"d[{DAY}]", f"d[{NEXT}]"]
    assert await lost(world) == 0


async def test_a_rollback_after_an_undeploy_is_a_deploy_like_any_other(world: World) -> None:
    changed = (BELOW[0], job("d", "c", config={"callable": "else:where"}))
    await world.deploy(*changed, dag="below")
    await world.run()
    await undeployed(world)
    again = await world.deploy(*BELOW, dag="below")
    assert list(again.dags[0].diff.regenerated) == ["d"]
    assert sorted(await world.run()) == [f"d[{DAY}]", f"d[{NEXT}]"]


async def test_decisions_of_persons_outlast_a_redeploy(world: World) -> None:
    await world.changed("c", DAY)
    async with world.conn() as conn:
        await cancel_all(conn, world.org, [TaskStatus.QUEUED, TaskStatus.BLOCKED], by="ann")
    await undeployed(world)
    assert (await world.deploy(*BELOW, dag="below")).tasks == 0
    assert await lost(world) == 0


async def test_a_running_task_is_lost_and_its_partition_built_again(world: World) -> None:
    await world.changed("c", DAY)
    (lease,) = await world.claim()
    await undeployed(world)
    with pytest.raises(LeaseLost):
        await world.finish(lease, "partly")
    await world.deploy(*BELOW, dag="below")
    assert (await world.run(c="same"))[0] == f"c[{DAY}]"
    assert await lost(world) == 0


async def test_a_redeploy_can_build_everything_anew(world: World) -> None:
    await undeployed(world, rebuild=True)
    again = await world.deploy(*BELOW, dag="below")
    assert (again.dags[0].is_restored, again.tasks) == (False, 4)


async def test_datasets_built_by_another_dag_meanwhile_are_built_anew(world: World) -> None:
    await undeployed(world)
    await world.deploy(job("d", "b"), dag="between")
    await world.run()
    await undeployed(world, "between")
    again = await world.deploy(*BELOW, dag="below")
    assert not again.dags[0].is_restored
    assert len(await world.run()) == 4
    assert await lost(world) == 0


async def test_a_dag_without_its_input_is_rejected_like_any_other(world: World) -> None:
    await undeployed(world)
    await undeployed(world, "w")
    with pytest.raises(InvalidInput, match="'b'"):
        await world.deploy(*BELOW, dag="below")


async def test_an_input_partitioned_otherwise_meanwhile_means_a_new_build(world: World) -> None:
    await undeployed(world)
    weekly = {"dt": {"time": "week", "start": "2013-W01", "end": "2014-W01"}}
    await world.deploy(source("a"), job("b", "a", partitioning=weekly))
    await world.run()
    again = await world.deploy(*BELOW, dag="below")
    assert not again.dags[0].is_restored
    await world.run()
    assert await lost(world) == 0


async def test_sources_continue_with_their_partitions(world: World) -> None:
    await undeployed(world)
    await undeployed(world, "w")
    again = await world.deploy(source("a"), job("b", "a"))
    assert again.dags[0].is_restored
    assert await world.run() == []
    await world.changed("a", DAY)
    assert await world.run() == [f"b[{DAY}]"]


async def test_a_single_run_job_runs_again_only_if_an_input_has_changed(database: Database) -> None:
    world = await World.made(database, source("a", {"k": {"dynamic": True}}))
    await world.deploy(finding_job("f", "a"), dag="below")
    await world.changed("a", "x")
    await world.run()
    await undeployed(world)
    await world.deploy(finding_job("f", "a"), dag="below")
    assert await world.run() == []
    await undeployed(world)
    await world.changed("a", "x")
    await world.deploy(finding_job("f", "a"), dag="below")
    assert await world.run() == ["f[*]"]
    assert await lost(world) == 0


async def test_a_schedule_does_not_fire_while_undeployed(database: Database) -> None:
    cron = {"kind": "schedule", "cron": "* * * * *"}
    world = await World.made(database, source("a", {}, source=cron), job("b", "a", partitioning={}))
    await undeployed(world, "w")
    past = "UPDATE consumer_positions SET position = '2013-01-01T00:00:00Z' RETURNING 1"
    await world.rows(past)
    async with world.conn() as conn:
        assert await fire_due(conn, world.org) == 0
    await world.deploy(source("a", {}, source=cron), job("b", "a", partitioning={}))
    async with world.conn() as conn:
        assert await fire_due(conn, world.org) == 0


async def test_a_plan_pending_approval_outlasts_an_undeploy(world: World) -> None:
    async with world.conn() as conn:
        await set_setting(conn, world.org.id, "blast_radius", 1)
    await world.changed("c", DAY, NEXT)
    (plan,) = await world.rows("SELECT id FROM plans WHERE state = 'pending_approval'")
    await undeployed(world)
    await world.deploy(*BELOW, dag="below")
    assert await world.run() == []
    async with world.conn() as conn:
        await approve(conn, world.org, plan["id"])
    assert len(await world.run()) == 4


async def test_a_plan_approved_while_undeployed_runs_nothing(world: World) -> None:
    async with world.conn() as conn:
        await set_setting(conn, world.org.id, "blast_radius", 1)
    await world.changed("c", DAY, NEXT)
    (plan,) = await world.rows("SELECT id FROM plans WHERE state = 'pending_approval'")
    await undeployed(world)
    async with world.conn() as conn:
        await approve(conn, world.org, plan["id"])
    assert await world.run() == []
    await world.deploy(*BELOW, dag="below")
    await world.plan()
    assert await world.run() == []
    (again,) = await world.rows("SELECT id FROM plans WHERE state = 'pending_approval'")
    async with world.conn() as conn:
        await approve(conn, world.org, again["id"])
    assert len(await world.run()) == 4


async def test_a_task_that_waits_for_an_unchanged_result_is_not_run_again(world: World) -> None:
    await world.changed("c", DAY)
    await undeployed(world)
    await world.deploy(*BELOW, dag="below")
    await world.run(c="first")
    await world.changed("c", DAY)
    await undeployed(world)
    again = await world.deploy(*BELOW, dag="below")
    assert again.tasks == 2
    assert await world.run(c="first") == [f"c[{DAY}]"]
    assert await lost(world) == 0


async def test_topics_that_another_dag_reads_are_still_read(database: Database) -> None:
    def topic(dataset: str, name: str) -> dict[str, Any]:
        return source(dataset, source={"kind": "kafka", "topic": name, "dataset": dataset})

    world = await World.made(database, topic("a", "shared"), topic("b", "own"), dag="first")
    await world.deploy(topic("c", "shared"), dag="second")
    assert (await undeployed(world, "first")).topics == ("own",)
    assert (await undeployed(world, "second")).topics == ("shared",)
