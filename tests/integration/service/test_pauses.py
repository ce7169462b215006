"""Pauses of jobs, datasets and the org: work is gathered, shown, and resumed."""

import asyncio
from collections.abc import Sequence

import pytest

from engine.errors import InvalidInput, UnknownName
from engine.flow.deployment.apply import apply
from engine.flow.planning.audit import audit_all
from engine.loops.notification_listener import NotificationListener
from engine.model.event import SourceEvent
from engine.model.states import PauseKind
from engine.service.caller import Caller
from engine.service.commands.pauses import Pause, pause, resume
from engine.service.commands.proposals import propose
from engine.service.queries.datasets import datasets
from engine.service.queries.explain_partition import explain_partition
from engine.service.queries.explain_task import explain_task
from engine.service.queries.health import work
from engine.service.queries.jobs import jobs
from engine.service.queries.stale import stale
from engine.service.queries.status import status
from engine.service.service import Service
from engine.store.database import Database
from engine.store.notifications import INVALIDATIONS, TASKS
from tests.support.worlds import World, job, source

DAY, NEXT = "2013-02-13", "2013-02-14"
JOB, DATASET, ORG = PauseKind.JOB, PauseKind.DATASET, PauseKind.ORG


@pytest.fixture
async def world(database: Database) -> World:
    """Two sources with a job each; c reads b."""
    return await World.made(
        database, source("a"), source("s"), job("b", "a"), job("c", "b"), job("t", "s")
    )


async def paused(world: World, kind: PauseKind, name: str | None = None) -> None:
    ann = Caller.local(world.caller.org, "ann")
    await pause(ann, world.service, kind, name, reason="load test")


async def resumed(world: World, kind: PauseKind, name: str | None = None) -> None:
    await resume(world.caller, world.service, kind, name)


async def pauses(world: World) -> Sequence[Pause]:
    return (await status(world.caller, world.service)).pauses


async def test_tasks_of_a_paused_job_are_planned_but_not_claimed(world: World) -> None:
    await paused(world, JOB, "b")
    await world.changed("a", DAY)
    await world.changed("s", DAY)
    assert await world.run() == [f"t[{DAY}]"]
    assert await world.tasks("b") == {"queued": [f"b[{DAY}]"]}
    await world.changed("a", NEXT)
    await resumed(world, JOB, "b")
    assert await world.run() == [f"b[{DAY}]", f"b[{NEXT}]", f"c[{DAY}]", f"c[{NEXT}]"]


async def test_a_pause_survives_a_deploy(world: World) -> None:
    await paused(world, JOB, "b")
    await world.changed("a", DAY)
    await world.deploy(
        source("a"), source("s"), job("b", "a"), job("c", "b"), job("t", "s"), job("d", "b")
    )
    assert await world.claim() == []
    await resumed(world, JOB, "b")
    assert (await world.run())[0] == f"b[{DAY}]"


async def test_a_running_task_of_a_paused_job_completes(world: World) -> None:
    await world.changed("a", DAY)
    (lease,) = await world.claim()
    await paused(world, JOB, "b")
    await world.finish(lease)
    assert await world.run() == [f"c[{DAY}]"]


async def test_invalidations_of_a_paused_dataset_are_gathered(world: World) -> None:
    await paused(world, DATASET, "a")
    await world.change("a", DAY)
    await world.change("s", DAY)
    planned = await world.plan()
    assert planned is not None
    assert planned.invalidations == 1
    assert await world.plan() is None
    assert await world.run() == [f"t[{DAY}]"]
    await world.change("a", NEXT)
    await resumed(world, DATASET, "a")
    planned = await world.plan()
    assert planned is not None
    assert planned.invalidations == 2


async def test_nothing_of_a_paused_org_is_planned(world: World) -> None:
    await paused(world, ORG)
    await world.change("a", DAY)
    await world.change("b", DAY)
    assert await world.plan() is None
    await resumed(world, ORG)
    planned = await world.plan()
    assert planned is not None
    assert planned.invalidations == 2


async def test_an_applied_plan_and_a_deploy_run_in_spite_of_a_pause(world: World) -> None:
    view = await propose(world.caller, world.service, SourceEvent(dataset="a", partitions=(DAY,)))
    await paused(world, ORG)
    async with world.conn() as conn:
        assert (await apply(conn, world.org, view.plan_id, by="ann")).tasks == 2
    deployed = await world.deploy(source("a"), source("s"), job("b", "a", config={"k": 1}))
    assert deployed.tasks == 1
    assert await world.run() == [f"b[{DAY}]"]


async def test_work_behind_a_pause_is_left_by_decision(world: World) -> None:
    await world.changed("a", DAY, NEXT)
    await world.changed("s", DAY)
    await world.run()
    await paused(world, JOB, "b")
    await world.changed("a", DAY)
    await paused(world, DATASET, "s")
    await world.change("s", DAY)
    async with world.conn() as conn:
        counts = await audit_all(conn, world.org, mend=True)
    assert (counts.left, counts.in_hand, counts.lost) == (2, 0, 0)
    rows = {row.dataset: row for row in await stale(world.caller, world.service)}
    assert "job 'w.b' is paused since 20" in (rows["b"].explained_by or "")
    assert "dataset 's' is paused" in (rows["s"].explained_by or "")
    assert (rows["b"].explained_by or "").endswith("by ann: load test")
    view = await explain_partition(world.caller, world.service, "b", DAY)
    assert (view.verdict, view.explained_by) == ("left", rows["b"].explained_by)
    view = await explain_partition(world.caller, world.service, "s", DAY)
    assert (view.verdict, view.explained_by) == ("left", rows["s"].explained_by)
    task = await world.task(f"b[{DAY}]", "queued")
    explained = await explain_task(world.caller, world.service, str(task["id"]))
    assert explained.pause is not None
    assert explained.pause.paused_by == "ann"


async def test_a_partition_behind_a_paused_input_is_left_by_decision(world: World) -> None:
    """A run found changes of its output that its plan had not expected."""
    await world.changed("a", DAY)
    await world.run()
    await paused(world, DATASET, "b")
    await world.change("b", DAY)
    await world.rows(
        "UPDATE data_invalidations SET reason = 'found' WHERE processed_at IS NULL RETURNING id"
    )
    await world.rows(
        "UPDATE partition_versions SET materialized_at = clock_timestamp() "
        "WHERE dataset_uuid = %s RETURNING 1",
        await world.dataset_id("b"),
    )
    rows = {row.dataset: row for row in await stale(world.caller, world.service)}
    assert rows["c"].verdict == "left"
    assert "an invalidation of an input is not planned yet; dataset 'b' is paused" in (
        rows["c"].explained_by or ""
    )


async def test_lists_and_status_show_pauses_and_the_work_held_back(world: World) -> None:
    await world.changed("a", DAY)
    await paused(world, JOB, "b")
    await paused(world, DATASET, "s")
    await world.change("s", DAY)
    view = await status(world.caller, world.service)
    assert [(row.kind, row.name, row.reason) for row in view.pauses] == [
        ("dataset", "s", "load test"),
        ("job", "w.b", "load test"),
    ]
    assert (view.held_back.invalidations, view.held_back.tasks) == (1, 1)
    assert (view.is_moving, view.is_at_rest) == (False, False)
    assert {row.name for row in await jobs(world.caller, world.service) if row.pause} == {"b"}
    assert {row.name for row in await datasets(world.caller, world.service) if row.pause} == {"s"}
    await world.rows("UPDATE data_invalidations SET created_at = '2013-01-01' RETURNING id")
    checks = {check.name: check for check in await work(world.caller, world.service)}
    assert (checks["planning"].verdict, checks["workers"].verdict) == ("ok", "ok")
    await paused(world, ORG)
    assert {row.name for row in await datasets(world.caller, world.service) if row.pause} >= {"a"}


async def test_a_resume_notifies_workers_and_planners(world: World) -> None:
    for kind, name, channel in ((JOB, "b", TASKS), (DATASET, "a", INVALIDATIONS)):
        await paused(world, kind, name)
        listener, stop = NotificationListener(world.database, [channel]), asyncio.Event()
        async with asyncio.TaskGroup() as group:
            group.create_task(listener.run(stop))
            await asyncio.wait_for(listener.wake.wait(), 60)  # a new connection wakes as well
            listener.wake.clear()
            await resumed(world, kind, name)
            await asyncio.wait_for(listener.wake.wait(), 60)
            stop.set()


async def test_a_repeated_pause_keeps_the_first(world: World) -> None:
    eve = Caller.local(world.caller.org, "eve")
    for kind, name in ((JOB, "b"), (DATASET, "a"), (ORG, None)):
        await paused(world, kind, name)
        (first,) = [row for row in await pauses(world) if row.kind == kind]
        again = await pause(eve, world.service, kind, name, reason="mine")
        assert (again.is_new, again.origin) == (False, first.origin)
        assert first.origin.endswith(" by ann: load test")
        assert first in await pauses(world)
        await resumed(world, kind, name)
        assert (await pause(eve, world.service, kind, name, reason="mine")).is_new


async def test_unknown_and_unpaused_subjects_are_rejected(world: World) -> None:
    for kind, name in ((JOB, "bb"), (DATASET, "bb")):
        with pytest.raises(UnknownName):
            await pause(world.caller, world.service, kind, name)
    for kind, name, reason in (
        (JOB, "src_a", "knockon pause dataset a"),
        (JOB, None, "needs the name of a job"),
        (ORG, "b", "takes no name"),
    ):
        with pytest.raises(InvalidInput, match=reason):
            await pause(world.caller, world.service, kind, name)
    with pytest.raises(InvalidInput, match="dataset 'a' is not paused"):
        await resume(world.caller, world.service, DATASET, "a")


async def test_a_removed_job_can_be_resumed(world: World) -> None:
    await paused(world, JOB, "b")
    await world.deploy(source("a"))
    await resumed(world, JOB, "b")
    assert (await status(world.caller, world.service)).pauses == ()


async def test_a_pause_affects_its_org_only(world: World) -> None:
    other = Caller.local(await Service(world.database).org("other", create=True), "eve")
    await pause(other, world.service, ORG)
    await world.changed("a", DAY)
    assert await world.run() == [f"b[{DAY}]", f"c[{DAY}]"]
    with pytest.raises(InvalidInput):
        await resume(world.caller, world.service, ORG)
