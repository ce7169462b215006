"""Debounce: the invalidations of a dataset are gathered, and then planned together."""

from typing import Any

import pytest

from engine.model.states import PauseKind
from engine.service.commands.pauses import pause, resume
from engine.service.queries.awaited import awaited
from engine.service.queries.health import work
from engine.service.queries.status import status
from engine.store.database import Database
from tests.support.worlds import World, job, source

DAY, NEXT = "2013-02-13", "2013-02-14"
READERS = (job("b", "a"), job("c", "a"), job("d", "b", "c"), job("t", "s"))


def debounced(quiet: str = "5m", at_most: str = "1h") -> dict[str, Any]:
    made = source("a")
    made["outputs"][0]["debounce"] = {"quiet": quiet, "at_most": at_most}
    return made


@pytest.fixture
async def world(database: Database) -> World:
    """A diamond over a, whose invalidations are gathered, and t over s, without a debounce."""
    return await World.made(database, debounced(), source("s"), *READERS)


async def pass_time(world: World, minutes: float) -> None:
    await world.rows(
        "UPDATE data_invalidations SET created_at = created_at - %s * interval '1 minute' "
        "WHERE processed_at IS NULL RETURNING id",
        minutes,
    )


async def test_changes_are_planned_together_after_a_quiet_time(world: World) -> None:
    await world.change("a", DAY)
    assert await world.plan() is None
    await pass_time(world, 3)
    await world.change("a", NEXT)
    await pass_time(world, 3)
    assert await world.plan() is None
    await pass_time(world, 3)
    planned = await world.plan()
    assert planned is not None
    assert (planned.invalidations, planned.tasks) == (2, 6)


async def test_changes_are_planned_after_the_maximum_time(world: World) -> None:
    await world.change("a", DAY)
    await pass_time(world, 58)
    await world.change("a", NEXT)
    assert await world.plan() is None
    await pass_time(world, 3)
    planned = await world.plan()
    assert planned is not None
    assert planned.invalidations == 2


async def test_checks_while_changes_are_gathered_are_no_attempts_to_plan_them(
    world: World,
) -> None:
    """Otherwise the oldest of them would be set aside as too costly to plan."""
    await world.change("a", DAY)
    for _ in range(10):
        assert await world.plan() is None
    await pass_time(world, 6)
    planned = await world.plan()
    assert planned is not None
    assert (planned.tasks, planned.set_aside) == (3, ())


async def test_a_debounced_chain_continues_at_once(database: Database) -> None:
    """Its later days are part of a change that was planned before."""
    chained = job("balance", "a", {"dataset": "self", "window": [-1, -1]})
    chained["outputs"][0]["debounce"] = {"quiet": "5m", "at_most": "1h"}
    world = await World.made(database, source("a"), chained)
    await world.changed("a", f"{DAY}..{NEXT}")
    assert await world.run() == [f"balance[{DAY}]"]
    await world.plan()
    assert await world.run() == [f"balance[{NEXT}]"]


async def test_other_datasets_are_planned_meanwhile(world: World) -> None:
    await world.change("a", DAY)
    await world.change("s", DAY)
    planned = await world.plan()
    assert planned is not None
    assert await world.run() == [f"t[{DAY}]"]


async def test_a_deploy_without_the_debounce_plans_what_was_gathered(world: World) -> None:
    await world.change("a", DAY)
    await world.deploy(source("a"), source("s"), job("b", "a"), job("t", "s"))
    await world.plan()
    assert await world.run() == [f"b[{DAY}]"]


async def test_a_debounce_does_not_change_the_definition(world: World) -> None:
    await world.changed("a", DAY)
    await pass_time(world, 6)
    await world.plan()
    await world.run()
    before = await world.rows("SELECT count(*) AS n FROM dataset_versions")
    deployed = await world.deploy(debounced("1s", "1m"), source("s"), *READERS)
    assert deployed.tasks == 0
    assert await world.rows("SELECT count(*) AS n FROM dataset_versions") == before


async def test_gathered_work_is_shown_and_raises_no_alarm(world: World) -> None:
    requested = await world.change("a", DAY)
    view = await status(world.caller, world.service)
    assert [row.dataset for row in view.gathering] == ["a"]
    assert (view.oldest_seconds, view.is_moving) == (None, True)
    await pass_time(world, 4)
    checks = {check.name: check for check in await work(world.caller, world.service)}
    assert checks["planning"].verdict == "ok"
    waited = await awaited(world.caller, world.service, requested.invalidations)
    assert (waited.is_moving, waited.is_paused) == (True, False)
    assert "dataset 'a' is gathered until" in str(waited)


async def test_a_pause_outlasts_the_debounce(world: World) -> None:
    await pause(world.caller, world.service, PauseKind.DATASET, "a")
    await world.change("a", DAY)
    await pass_time(world, 100)
    assert await world.plan() is None
    await resume(world.caller, world.service, PauseKind.DATASET, "a")
    assert await world.plan() is not None
