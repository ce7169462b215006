"""Status: counts, ages, and stuck tasks with the tasks blocked by them."""

import re
from io import StringIO

import pytest
from rich.console import Console, RenderableType

from engine.cli.commands.status import _report as status_report
from engine.cli.commands.tasks import _table as task_table
from engine.cli.render.explanation import partition_tree, task_tree
from engine.flow.execution.fail import fail
from engine.flow.ingestion.ingest import ingest
from engine.model.event import Advance, Batch, Rejection
from engine.model.states import PauseKind
from engine.service.commands.pauses import pause, resume
from engine.service.queries import served
from engine.service.queries.explain_partition import explain_partition
from engine.service.queries.explain_task import explain_task
from engine.service.queries.invalidations import invalidations
from engine.service.queries.progress import Progress, build_of, progress
from engine.service.queries.status import Status, status
from engine.service.queries.tasks import tasks
from engine.store.database import Database
from engine.store.orgs import set_setting
from tests.support.worlds import World, job, source

DAY = "2013-02-13"


async def seen(world: World) -> Status:
    return await status(world.caller, world.service)


async def failing(world: World, error: str = "boom") -> None:
    (lease, *_) = await world.claim(limit=1)
    async with world.conn() as conn:
        await fail(conn, world.org, lease, error, retryable=False)


async def test_an_empty_org_is_at_rest(database: Database) -> None:
    world = await World.made(database, source("a"), job("b", "a"))
    view = await seen(world)
    assert view.is_at_rest
    assert [(dag.name, dag.version, dag.jobs, dag.datasets) for dag in view.dags] == [
        ("w", 1, 2, 2)
    ]
    assert (view.open_invalidations, view.oldest_seconds, view.dead_letters) == (0, None, 0)


async def test_open_invalidations_have_an_age(database: Database) -> None:
    world = await World.made(database, source("a"), job("b", "a"))
    await world.change("a", DAY)
    view = await seen(world)
    assert not view.is_at_rest
    assert view.open_invalidations == 1
    assert view.oldest_seconds is not None
    assert view.oldest_seconds >= 0


async def test_missing_processes_are_named(
    database: Database, monkeypatch: pytest.MonkeyPatch
) -> None:
    """A process is missing if its work has been due for a while, and no pause holds it back."""
    world = await World.made(database, source("a"), job("b", "a"))
    await world.change("a", DAY)
    assert (await seen(world)).missing == ()
    monkeypatch.setattr(served, "_LATELY_SECONDS", 0.0)
    assert (await seen(world)).missing == (
        "no engine plans the unplanned invalidations: run 'knockon engine'",
    )
    await world.plan()
    no_worker = "no worker claims tasks of the runtime 'local': run 'knockon worker'"
    assert (await seen(world)).missing == (no_worker,)
    assert "waiting for a process" in shown(status_report(await seen(world)))
    await pause(world.caller, world.service, PauseKind.JOB, "b")
    assert (await seen(world)).missing == ()
    await resume(world.caller, world.service, PauseKind.JOB, "b")
    await world.claim()
    assert (await seen(world)).missing == ()


async def test_a_paused_org_keeps_nothing_waiting(
    database: Database, monkeypatch: pytest.MonkeyPatch
) -> None:
    world = await World.made(database, source("a"), job("b", "a"))
    await world.change("a", DAY)
    monkeypatch.setattr(served, "_LATELY_SECONDS", 0.0)
    await pause(world.caller, world.service, PauseKind.ORG)
    view = await seen(world)
    assert (view.open_invalidations, view.oldest_seconds, view.missing) == (1, None, ())


async def test_an_org_at_rest_with_a_pause_is_not_reported_as_free(database: Database) -> None:
    world = await World.made(database, source("a"), job("b", "a"))
    await pause(world.caller, world.service, PauseKind.JOB, "b")
    assert "at rest, with pauses" in shown(status_report(await seen(world)))


async def test_a_failed_task_counts_blocked_tasks(database: Database) -> None:
    world = await World.made(database, source("a"), job("b", "a"), job("c", "b"), job("d", "c"))
    await world.changed("a", DAY)
    await failing(world)
    view = await seen(world)
    assert view.tasks == {"failed": 1, "blocked": 2}
    (stuck,) = view.stuck
    assert (stuck.job, stuck.status, stuck.blocks, stuck.error) == ("b", "failed", 2, "boom")
    assert [worker.id for worker in view.workers] == ["w1"]


def shown(view: RenderableType) -> str:
    console = Console(file=(text := StringIO()), width=250)
    console.print(view)
    return text.getvalue()


async def test_a_failed_task_shows_the_cause(database: Database) -> None:
    world = await World.made(database, source("a"), job("b", "a"), job("c", "b"))
    await world.changed("a", DAY)
    await failing(world, "division by zero\nCONTEXT:  PL/pgSQL function run_as line 7")
    partition = await explain_partition(world.caller, world.service, "b", DAY)
    blocked = await world.task(f"c[{DAY}]", "blocked")
    task = await explain_task(world.caller, world.service, str(blocked["id"]))
    views = (
        status_report(await seen(world)),
        task_table(await tasks(world.caller, world.service, job="b")),
        partition_tree(partition),
        task_tree(task),
    )
    for text in map(shown, views):
        assert "division by zero" in text
        assert "PL/pgSQL" not in text


def headline(view: Status) -> str:
    return shown(status_report(view)).splitlines()[0].strip()


async def test_work_that_waits_for_a_failed_task_is_stuck(database: Database) -> None:
    world = await World.made(database, source("a"), job("b", "a"), job("c", "b"))
    await world.changed("a", DAY)
    assert headline(await seen(world)).startswith("at work  ")
    await failing(world)
    assert headline(await seen(world)).startswith("stuck  ")


async def test_first_runs_without_inputs_are_waiting(database: Database) -> None:
    both = {"dataset": "z", "wait_for": "all"}
    world = await World.made(database, source("a"), source("z"), job("b", "a", both), job("c", "b"))
    await world.changed("a", DAY)
    assert headline(await seen(world)).startswith("waiting for inputs  ")


async def test_a_blocked_task_without_cause_is_stuck(database: Database) -> None:
    world = await World.made(database, source("a"), job("b", "a"), job("c", "b"))
    await world.changed("a", DAY)
    await world.rows("UPDATE tasks SET status = 'succeeded' WHERE status = 'queued' RETURNING id")
    assert headline(await seen(world)).startswith("stuck  ")


async def test_an_invalidation_set_aside_is_stuck(database: Database) -> None:
    world = await World.made(database, source("a"), job("b", "a"))
    await world.changed("a", DAY)
    await world.run()
    assert headline(await seen(world)).startswith("at rest  ")
    await world.change("a", DAY)
    await world.rows(
        "UPDATE data_invalidations SET partition_key = 'no day' "
        "WHERE processed_at IS NULL RETURNING id"
    )
    await world.plan()
    text = headline(await seen(world))
    assert text.startswith("stuck  0 unplanned invalidations, 1 set aside  ")


async def test_every_open_invalidation_is_counted(database: Database) -> None:
    world = await World.made(database, source("a"), job("b", "a"))
    await world.change("a", DAY)
    assert "  1 unplanned invalidation, the oldest " in headline(await seen(world))
    await world.plan()
    async with world.conn() as conn:
        await set_setting(conn, world.org.id, "blast_radius", 1)
    await world.change("a", "2013-02-14", "2013-02-20")
    await world.plan()
    await world.change("a", "2013-02-27")
    text = headline(await seen(world))
    assert re.match(
        r"at work  1 unplanned invalidation, the oldest \d+s old, 2 pending approval ", text
    )
    await world.plan()
    await world.run()
    text = headline(await seen(world))
    assert text.startswith("waiting for approval  0 unplanned invalidations, 2 pending approval  ")
    assert len(await invalidations(world.caller, world.service, only_open=True)) == 2


async def test_a_first_run_lists_missing_inputs(database: Database) -> None:
    both = {"dataset": "z", "wait_for": "all"}
    world = await World.made(database, source("a"), source("z"), job("b", "a", both))
    await world.changed("a", DAY)
    (stuck,) = (await seen(world)).stuck
    assert (stuck.status, stuck.waiting_for) == ("blocked", {"z": [DAY]})


async def test_consumers_and_dead_letters_are_counted(database: Database) -> None:
    world = await World.made(database, source("a"), job("b", "a"))
    batch = Batch(
        consumer="k",
        rejections=(Rejection(stream="kafka/t/0", position="7", payload=b"?", error="no"),),
        advances=(Advance(stream="kafka/t/0", before=None, after="8"),),
    )
    async with world.conn() as conn:
        await ingest(conn, world.org, batch)
    view = await seen(world)
    assert view.dead_letters == 1
    assert [(each.consumer, each.stream, each.position) for each in view.positions] == [
        ("k", "kafka/t/0", "8")
    ]


async def wave(world: World, *datasets: str) -> Progress:
    ids = [
        invalidation
        for each in datasets
        for invalidation in (await world.change(each, DAY)).invalidations
    ]
    assert (await progress(world.caller, world.service, ids)).unplanned == len(ids)
    await world.plan()
    return await progress(world.caller, world.service, ids)


async def test_progress_counts_only_tasks_of_the_invalidations(database: Database) -> None:
    world = await World.made(
        database, source("a"), source("z"), job("b", "a"), job("c", "b"), job("y", "z")
    )
    first = await wave(world, "a")
    assert (first.total, first.finished, first.is_over) == (2, 0, False)
    assert (await wave(world, "z")).total == 1


async def test_progress_is_over_if_only_a_person_can_continue(database: Database) -> None:
    world = await World.made(database, source("a"), job("b", "a"), job("c", "b"))
    requested = await world.change("a", DAY)
    await world.plan()
    await failing(world)
    last = await progress(world.caller, world.service, requested.invalidations)
    assert last.is_over
    assert not last.is_good
    assert (last.total, last.finished) == (2, 1)


async def test_progress_is_good_if_first_runs_wait_for_inputs(database: Database) -> None:
    both = {"dataset": "z", "wait_for": "all"}
    world = await World.made(
        database, source("a"), source("z"), job("b", "a", both), job("c", "b"), job("d", "a")
    )
    ids = (await world.change("a", DAY)).invalidations
    await world.plan()
    assert not (await progress(world.caller, world.service, ids)).is_over
    await world.run()
    last = await progress(world.caller, world.service, ids)
    assert (last.is_over, last.is_good) == (True, True)
    assert last.tasks == {"blocked": 2, "succeeded": 1}


async def test_progress_is_not_good_if_tasks_wait_for_a_failed_task(database: Database) -> None:
    both = {"dataset": "z", "wait_for": "all"}
    world = await World.made(
        database, *map(source, "ayz"), job("b", "a"), job("c", "b", "y", both), job("d", "c")
    )
    await world.changed("a", DAY)
    await failing(world)
    ids = (await world.change("y", DAY)).invalidations
    await world.plan()
    last = await progress(world.caller, world.service, ids)
    assert (last.is_over, last.is_good) == (True, False)
    assert last.tasks == {"blocked": 2}


async def test_the_build_of_a_deploy(database: Database) -> None:
    jobs = [source("a"), job("b", "a"), job("c", "b")]
    world = await World.made(database, *jobs)
    await world.changed("a", DAY)
    await world.run()
    done = await world.deploy(jobs[0], job("b", "a", config={"callable": "x:y"}), jobs[2])
    assert done.dags[0].version_id is not None
    build = await build_of(world.caller, world.service, done.dags[0].version_id)
    assert (await progress(world.caller, world.service, build)).total == 2
    await world.run()
    assert (await progress(world.caller, world.service, build)).is_good
