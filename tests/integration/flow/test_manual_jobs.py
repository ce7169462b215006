"""Manual jobs run on request only, also at their first deploy."""

from typing import Any

import pytest

from engine.flow.planning.audit import audit_all
from engine.service.commands.jobs import run
from engine.store.database import Database
from tests.support.worlds import World, job, source

DAY, NEXT = "2013-02-13", "2013-02-14"


def manual(*inputs: str, **more: Any) -> dict[str, Any]:
    return job("b", *inputs, activation="manual", **more)


async def requested(world: World, *keys: str) -> list[str]:
    """Run the job on request, and the tasks that follow."""
    await run(world.caller, world.service, "b", keys or None)
    await world.plan()
    return await world.run()


async def test_a_manual_job_is_not_built_by_its_first_deploy(database: Database) -> None:
    world = await World.made(database, source("a"))
    await world.changed("a", DAY)
    deployed = await world.deploy(source("a"), manual("a"), job("c", "b"))
    assert deployed.tasks == 0
    async with world.conn() as conn:
        assert (await audit_all(conn, world.org)).lost == 0
    assert await requested(world) == [f"b[{DAY}]", f"c[{DAY}]"]


async def test_a_changed_manual_job_that_never_ran_is_not_built(database: Database) -> None:
    world = await World.made(database, source("a"), manual("a"))
    await world.changed("a", DAY)
    assert (await world.deploy(source("a"), manual("a", config={"k": 1}))).tasks == 0


async def test_a_changed_manual_job_rebuilds_what_it_had_built(database: Database) -> None:
    world = await World.made(database, source("a"), manual("a"), job("c", "b"))
    await world.changed("a", DAY, NEXT)
    assert await requested(world, DAY) == [f"b[{DAY}]", f"c[{DAY}]"]
    await world.deploy(source("a"), manual("a", config={"k": 1}), job("c", "b"))
    assert await world.run() == [f"b[{DAY}]", f"c[{DAY}]"]


@pytest.mark.parametrize("strategy", ["PerPartition", "Full"])
async def test_a_changed_manual_job_without_inputs_rebuilds_what_it_had_built(
    database: Database, strategy: str
) -> None:
    world = await World.made(
        database,
        manual(partitioning={}, execution_strategy=strategy),
        job("c", "b", partitioning={}),
    )
    other = manual(partitioning={}, execution_strategy=strategy, config={"k": 1})
    assert (await world.deploy(other, job("c", "b", partitioning={}))).tasks == 0
    assert len(await requested(world)) == 2
    third = manual(partitioning={}, execution_strategy=strategy, config={"k": 2})
    await world.deploy(third, job("c", "b", partitioning={}))
    assert len(await world.run()) == 2


async def test_an_unfinished_request_survives_a_deploy(database: Database) -> None:
    world = await World.made(database, source("a"), manual("a"))
    await world.changed("a", DAY, NEXT)
    await run(world.caller, world.service, "b", (DAY,))
    await world.plan()
    await world.deploy(source("a"), manual("a", config={"k": 1}))
    assert await world.run() == [f"b[{DAY}]"]


async def test_a_manual_job_with_other_partitions_waits_for_a_request(database: Database) -> None:
    weekly = {"w": {"time": "week", "start": "2013-W01", "end": "2014-W01"}}
    world = await World.made(database, source("a"), manual("a"))
    await world.changed("a", DAY)
    await requested(world)
    assert (await world.deploy(source("a"), manual("a", partitioning=weekly))).tasks == 0
    assert await requested(world) == ["b[2013-W07]"]
