"""An idempotency key identifies one request: a repetition changes nothing, reuse is rejected."""

import asyncio

import pytest

from consumers.manual import Requested
from engine.errors import InvalidInput
from engine.store.database import Database
from tests.support.worlds import World, job, source


@pytest.fixture
async def world(database: Database) -> World:
    return await World.made(database, source("a"), job("b", "a"), source("z"))


async def kept(world: World) -> list[str]:
    rows = await world.rows(
        "SELECT idempotency_key || ' ' || coalesce(partition_key, '*') AS row "
        "FROM data_invalidations WHERE idempotency_key IS NOT NULL ORDER BY 1"
    )
    return [row["row"] for row in rows]


async def test_a_repeated_request_changes_nothing(world: World) -> None:
    first = await world.change("a", "2013-01-05", "2013-01-09", id="K")
    again = await world.change("a", "2013-01-09", "2013-01-05", id="K")
    assert (first.is_new, again.is_new) == (True, False)
    assert again.invalidations == first.invalidations
    assert await kept(world) == ["K#0 2013-01-05", "K#1 2013-01-09"]


@pytest.mark.parametrize(
    ("partitions", "more"),
    [
        (("2013-01-05", "2013-01-09"), {}),
        (("2013-01-02",), {}),
        ((), {}),
        (("2013-01-01",), {"columns": ("c",)}),
        (("2013-01-01",), {"rows": {"c": 1}}),
        (("2013-01-01",), {"reason": "correction"}),
    ],
)
async def test_a_key_reused_with_another_request_is_rejected(
    world: World, partitions: tuple[str, ...], more: dict[str, object]
) -> None:
    await world.change("a", "2013-01-01", id="K")
    with pytest.raises(InvalidInput, match="idempotency key 'K' was used before"):
        await world.change("a", *partitions, id="K", **more)
    assert await kept(world) == ["K#0 2013-01-01"]


async def test_a_key_reused_for_another_dataset_is_rejected(world: World) -> None:
    await world.change("a", "2013-01-01", id="K")
    with pytest.raises(InvalidInput, match="use a new key"):
        await world.change("z", "2013-01-01", id="K")


async def test_a_key_with_the_prefix_of_another_is_distinct(world: World) -> None:
    first = await world.change("a", "2013-01-01", id="K")
    other = await world.change("a", "2013-01-05", id="K#0")
    again = await world.change("a", "2013-01-01", id="K")
    assert other.is_new
    assert again.invalidations == first.invalidations


async def test_a_request_repeated_after_a_deploy_changes_nothing(world: World) -> None:
    """The request may match more partitions after the deploy."""
    await world.change("a", "2013-01-01", "2013-01-03", id="K")
    before = await kept(world)
    weekly = {"dt": {"static": ["2013-01-01", "2013-01-02", "2013-01-03"]}}
    await world.deploy(source("a", weekly), job("b", "a", partitioning=weekly), source("z"))
    assert not (await world.change("a", "2013-01-03", "2013-01-01", id="K")).is_new
    assert len(await kept(world)) == len(before)


async def test_one_of_two_concurrent_requests_with_a_key_is_rejected(world: World) -> None:
    outcomes = await asyncio.gather(
        world.change("a", "2013-01-01", id="K"),
        world.change("a", "2013-01-05", "2013-01-09", id="K"),
        return_exceptions=True,
    )
    assert sorted(type(each).__name__ for each in outcomes) == ["IdempotencyConflict", "Requested"]
    done = next(each for each in outcomes if isinstance(each, Requested))
    assert len(await kept(world)) == len(done.invalidations)
