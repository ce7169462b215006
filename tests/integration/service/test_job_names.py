"""Jobs with the same name in several DAGs: requests name the DAG, or are rejected."""

from collections.abc import Awaitable, Callable
from typing import Any

import pytest

from engine.errors import InvalidInput, UnknownName
from engine.model.states import PauseKind, TaskStatus
from engine.service.caller import Caller
from engine.service.commands.backfills import backfill
from engine.service.commands.jobs import run
from engine.service.commands.pauses import pause, resume
from engine.service.commands.tasks import cancel_all, retry_all
from engine.service.queries.jobs import jobs
from engine.service.queries.tasks import tasks
from engine.service.service import Service
from engine.store.database import Database
from tests.support.worlds import DAILY, World, job, source

DAY = "2013-02-13"
JOB = PauseKind.JOB
Request = Callable[[Caller, Service], Awaitable[Any]]


@pytest.fixture
async def world(database: Database) -> World:
    """Two DAGs with a job `b` each, which produce b1 and b2 from a."""
    world = await World.made(database, source("a"), b("b1"))
    await world.deploy(b("b2"), dag="v")
    return world


def b(dataset: str) -> dict[str, Any]:
    return job("b", "a", outputs=[{"dataset": dataset, "partitioning": DAILY}])


async def claimed(world: World) -> list[str]:
    """Claim all tasks, and return their DAGs."""
    return sorted(lease.job.dag_name for lease in await world.claim())


@pytest.mark.parametrize(
    "request_",
    [
        lambda *by: run(*by, "b"),
        lambda *by: backfill(*by, "b", (DAY,)),
        lambda *by: pause(*by, JOB, "b"),
        lambda *by: tasks(*by, job="b"),
        lambda *by: cancel_all(*by, job="b"),
        lambda *by: retry_all(*by, job="b"),
    ],
    ids=["run", "backfill", "pause", "tasks", "cancel", "retry"],
)
async def test_an_ambiguous_name_is_rejected(world: World, request_: Request) -> None:
    with pytest.raises(InvalidInput, match=r"give one of '[vw]\.b', '[vw]\.b'"):
        await request_(world.caller, world.service)
    assert await world.tasks() == {}


async def test_a_job_runs_by_its_full_name(world: World) -> None:
    await world.changed("a", DAY)
    await world.run()
    await run(world.caller, world.service, "v.b", (DAY,))
    await world.plan()
    assert await claimed(world) == ["v"]


async def test_only_the_paused_job_is_paused(world: World) -> None:
    by = world.caller, world.service
    await pause(*by, JOB, "v.b")
    assert [(row.dag, row.name) for row in await jobs(*by) if row.pause] == [("v", "b")]
    await world.changed("a", DAY)
    assert await claimed(world) == ["w"]
    await resume(*by, JOB, "b")
    assert await claimed(world) == ["v"]


async def test_a_resume_of_several_paused_jobs_names_the_dag(world: World) -> None:
    by = world.caller, world.service
    await pause(*by, JOB, "v.b")
    await pause(*by, JOB, "w.b")
    with pytest.raises(InvalidInput, match=r"give one of 'v\.b', 'w\.b'"):
        await resume(*by, JOB, "b")
    assert (await resume(*by, JOB, "w.b")).name == "w.b"


async def test_a_pause_by_earlier_code_concerns_all_jobs_of_the_name(world: World) -> None:
    await world.rows(
        "INSERT INTO pauses (org_id, kind, name) VALUES (%s, 'job', 'b') RETURNING name",
        world.org.id,
    )
    await world.changed("a", DAY)
    assert await world.claim() == []
    await pause(world.caller, world.service, JOB, "v.b")
    await resume(world.caller, world.service, JOB, "b")
    assert await claimed(world) == ["w"]


async def test_tasks_are_selected_by_the_full_name(world: World) -> None:
    by = world.caller, world.service
    await world.changed("a", DAY)
    assert [row.dag_name for row in await tasks(*by, job="v.b")] == ["v"]
    assert await cancel_all(*by, job="v.b") == 1
    assert [row.dag_name for row in await tasks(*by, statuses=[TaskStatus.QUEUED])] == ["w"]
    retried = await retry_all(*by, statuses=[TaskStatus.CANCELED], job="v.b")
    assert (retried.requested, retried.covered) == (1, 0)
    await world.plan()
    assert await cancel_all(*by, job="w.b") == 1
    assert [row.dag_name for row in await tasks(*by, statuses=[TaskStatus.QUEUED])] == ["v"]


async def test_tasks_of_a_removed_job_are_found_by_its_name(world: World) -> None:
    by = world.caller, world.service
    await world.changed("a", DAY)
    await world.run()
    await world.deploy(job("d", "a"), dag="v")
    await world.deploy(source("a"))
    assert len(await tasks(*by, job="b")) == 2
    with pytest.raises(UnknownName, match="there is no job 'bb'"):
        await tasks(*by, job="bb")


async def test_a_full_name_takes_precedence_over_a_name_with_a_dot(database: Database) -> None:
    world = await World.made(database, source("a"), b("b1"))
    by = world.caller, world.service
    await pause(*by, JOB, "w.b")
    await world.deploy(b("b2") | {"name": "w.b"}, dag="x")
    await pause(*by, JOB, "w.b")
    await world.changed("a", DAY)
    assert await claimed(world) == ["x"]
    assert [(row.dag, row.name) for row in await jobs(*by) if row.pause] == [("w", "b")]
