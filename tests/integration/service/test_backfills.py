"""Backfills build partitions, whether they exist or not."""

import pytest

from engine.errors import InvalidInput, KnockonError, UnknownName
from engine.service.commands.backfills import backfill, propose_backfill
from engine.service.commands.orgs import set_blast_radius
from engine.service.commands.plans import apply
from engine.service.queries.plans import plans
from engine.store.database import Database
from tests.support.worlds import World, job, source

DAY, NEXT = "2013-02-13", "2013-02-14"


@pytest.fixture
async def world(database: Database) -> World:
    """b has one of its partitions, though its source has both."""
    two = job("two", "a")
    two["outputs"] = [dict(two["outputs"][0], dataset=name) for name in ("first", "second")]
    world = await World.made(database, source("a"), job("b", "a"), job("c", "b"), two)
    await world.changed("a", DAY)
    await world.run()
    return world


@pytest.mark.parametrize(("target", "built"), [("b", "b"), ("two", "two"), ("second", "two")])
async def test_existing_and_missing_partitions_are_built(
    world: World, target: str, built: str
) -> None:
    requested = await backfill(world.caller, world.service, target, [DAY, NEXT])
    assert requested.is_new
    await world.plan()
    ran = await world.run()
    assert [name for name in ran if name.startswith(built)] == [
        f"{built}[{DAY}]",
        f"{built}[{NEXT}]",
    ]


async def test_a_preview_is_applied_exactly(world: World) -> None:
    view = await propose_backfill(world.caller, world.service, "b", [f"{DAY}..{NEXT}"])
    assert [(row.job, row.count) for row in view.jobs] == [("b", 2), ("c", 2)]
    assert await world.plan() is None
    assert (await apply(world.caller, world.service, str(view.plan_id))).tasks == 4
    assert f"b[{NEXT}]" in await world.run()


async def test_a_backfill_beyond_a_limit_is_pending_approval(world: World) -> None:
    await set_blast_radius(world.caller, world.service, 1)
    await backfill(world.caller, world.service, "b", [f"{DAY}..{NEXT}"])
    await world.plan()
    assert len(await plans(world.caller, world.service, states=["pending_approval"])) == 1
    assert await world.run() == []


async def test_sources_and_impossible_partitions_are_rejected(world: World) -> None:
    with pytest.raises(InvalidInput, match="knockon invalidate a"):
        await backfill(world.caller, world.service, "src_a", [DAY])
    with pytest.raises(UnknownName, match="did you mean"):
        await backfill(world.caller, world.service, "bb", [DAY])
    with pytest.raises(KnockonError, match="1999-01-01"):
        await backfill(world.caller, world.service, "b", ["1999-01-01"])
