"""Successes of remote tasks reported at the same time: recorded together, each with its result."""

import asyncio
from uuid import uuid4

import pytest

from engine.errors import InvalidInput, LeaseLost
from engine.model.task import Output
from engine.model.task_token import TaskToken
from engine.service.authentication import authenticate_task
from engine.service.caller import Caller
from engine.service.commands.worker_tasks import ClaimedTask, claim_tasks, complete_task
from engine.service.service import Service
from engine.store.database import Database
from tests.support.worlds import World, job, source

DAYS = [f"2013-02-{number:02}" for number in range(1, 11)]


@pytest.fixture
async def world(database: Database) -> World:
    world = await World.made(
        database, source("a"), job("b", "a", runtime="external"), job("c", "b")
    )
    await world.changed("a", *DAYS)
    return world


async def completed(
    service: Service, *reports: tuple[ClaimedTask, str]
) -> list[BaseException | None]:
    """Report the output partitions of tasks; return the error of each, if there is one."""

    async def complete(task: ClaimedTask, partition: str) -> None:
        caller = await authenticate_task(service, task.token, "test")
        await complete_task(caller, service, [Output("b", partition, "f")])

    return await asyncio.gather(
        *(complete(task, partition) for task, partition in reports), return_exceptions=True
    )


async def claimed(world: World) -> list[ClaimedTask]:
    return await claim_tasks(world.caller, world.service, "w", limit=len(DAYS))


async def test_concurrent_reports_share_transactions(world: World) -> None:
    tasks = await claimed(world)
    errors = await completed(world.service, *((task, task.partitions[0]) for task in tasks))
    assert errors == [None] * len(DAYS)
    (row,) = await world.rows(
        "SELECT count(DISTINCT v.xmin::text) AS n FROM partition_versions v "
        "JOIN datasets d ON d.id = v.dataset_uuid WHERE d.name = 'b'"
    )
    assert row["n"] <= 3
    assert (await world.tasks("c"))["queued"] == [f"c[{day}]" for day in DAYS]


async def test_a_wrong_report_affects_no_other(world: World) -> None:
    first, second, third, *_ = await claimed(world)
    forged = Caller.worker(TaskToken(world.org.id, third.id, uuid4()), "test")
    service = world.service
    results = await asyncio.gather(
        completed(service, (first, first.partitions[0]), (second, "2013-12-24")),
        complete_task(forged, service, [Output("b", third.partitions[0], "f")]),
        return_exceptions=True,
    )
    errors, lost = results
    assert isinstance(lost, LeaseLost)
    assert isinstance(errors, list)
    assert [type(each) for each in errors] == [type(None), InvalidInput]
    assert (await world.tasks("b"))["succeeded"] == [f"b[{first.partitions[0]}]"]


async def test_a_success_counts_once(world: World) -> None:
    task, *_ = await claimed(world)
    errors = await completed(world.service, *[(task, task.partitions[0])] * 3)
    assert sorted(type(each).__name__ for each in errors) == ["LeaseLost", "LeaseLost", "NoneType"]
