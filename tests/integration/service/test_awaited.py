"""Work that a request waits for, and what is missing to carry it out."""

from uuid import UUID

import pytest

from engine.flow.execution.fail import fail
from engine.model.states import PauseKind
from engine.service.commands.pauses import pause
from engine.service.queries import served
from engine.service.queries.awaited import Awaited, awaited
from engine.store.database import Database
from tests.support.worlds import World, job, source

DAY = "2013-02-13"


@pytest.fixture
async def world(database: Database) -> World:
    return await World.made(database, source("a"), job("b", "a"), job("c", "b"))


async def requested(world: World) -> tuple[UUID, ...]:
    return (await world.change("a", DAY)).invalidations


async def seen(world: World, ids: tuple[UUID, ...]) -> Awaited:
    return await awaited(world.caller, world.service, ids)


async def test_unplanned_invalidations_need_an_engine(
    world: World, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(served, "_LATELY_SECONDS", 0)  # the deploy has planned
    ids = await requested(world)
    await world.change("a", "2013-02-14")  # of another request
    view = await seen(world, ids)
    assert str(view) == "1 unplanned invalidation of a"
    assert view.missing == "no engine plans the change of a: run 'knockon engine'"
    assert (view.is_moving, view.is_paused) == (False, False)


async def test_queued_tasks_need_a_worker_of_their_runtime(world: World) -> None:
    ids = await requested(world)
    await world.plan()
    view = await seen(world, ids)
    assert str(view) == "1 task of b queued, 1 task of c blocked"
    assert view.missing == "no worker claims tasks of the runtime 'local': run 'knockon worker'"
    await world.claim()
    view = await seen(world, ids)
    assert (view.is_moving, view.missing) == (True, "")


async def test_a_task_to_be_attempted_again_is_moving(world: World) -> None:
    ids = await requested(world)
    await world.plan()
    (lease,) = await world.claim()
    async with world.conn() as conn:
        await fail(conn, world.org, lease, "it broke")
    assert (await seen(world, ids)).is_moving


async def test_paused_work_names_the_pause(world: World) -> None:
    ids = await requested(world)
    await pause(world.caller, world.service, PauseKind.DATASET, "a")
    view = await seen(world, ids)
    assert view.is_paused
    assert "dataset 'a' is paused" in view.missing
    assert view.missing.endswith("'knockon resume dataset a' continues it")
    await world.rows("DELETE FROM pauses RETURNING name")
    await world.plan()
    await pause(world.caller, world.service, PauseKind.JOB, "b")
    view = await seen(world, ids)
    assert (view.is_paused, view.unpaused_runtimes) == (True, ())
    assert "'knockon resume job w.b' continues it" in view.missing


async def test_a_pause_of_the_org_holds_back_all_changes(world: World) -> None:
    await pause(world.caller, world.service, PauseKind.ORG)
    view = await seen(world, await requested(world))
    assert (view.is_paused, view.unpaused_datasets) == (True, ())
    assert view.missing.endswith("'knockon resume org' continues it")


async def test_tasks_of_another_request_upstream_are_awaited(world: World) -> None:
    await world.changed("a", DAY)
    ids = (await world.change("c", DAY)).invalidations
    await world.plan()
    assert str(await seen(world, ids)) == "1 task of b queued, 1 task of c blocked"


async def test_nothing_is_awaited_at_the_end(world: World) -> None:
    ids = await requested(world)
    await world.plan()
    await world.run()
    view = await seen(world, ids)
    assert (view.tasks, view.invalidations, view.missing) == ((), (), "")


async def test_busy_workers_and_engines_are_not_missing(world: World) -> None:
    await world.changed("a", "2013-02-14")
    await world.claim()
    ids = await requested(world)
    view = await seen(world, ids)
    assert (view.unpaused_datasets, view.missing) == (("a",), "")
    await world.plan()
    view = await seen(world, ids)
    assert (view.unpaused_runtimes, view.missing) == (("local",), "")


async def test_an_engine_that_plans_for_long_is_not_missing(world: World) -> None:
    (id_,) = await requested(world)
    await world.rows(
        "INSERT INTO planning_attempts (org_id, oldest, suspects_to, batch_limit, attempts) "
        "VALUES (%s, %s, %s, 1, 1) RETURNING oldest",
        world.org.id,
        id_,
        id_,
    )
    assert (await seen(world, (id_,))).missing == ""
