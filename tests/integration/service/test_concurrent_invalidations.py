"""Invalidations requested at the same time: written together, each with the result of its own."""

import asyncio

import pytest

from consumers.manual import Requested
from engine.errors import IdempotencyConflict, UnknownName
from engine.model.event import SourceEvent
from engine.model.states import Role
from engine.service.caller import Caller
from engine.service.commands.invalidations import invalidate
from engine.service.service import Service
from engine.store.database import Database
from tests.support.hidden import DAYS, hidden_world
from tests.support.worlds import World, job, source


def day(number: int) -> str:
    return f"2013-01-{1 + number:02}"


def event(number: int, key: str | None = None, dataset: str = "a") -> SourceEvent:
    return SourceEvent(dataset=dataset, partitions=(day(number),), id=key)


async def requested(
    service: Service, *calls: tuple[Caller, SourceEvent]
) -> list[Requested | BaseException]:
    return await asyncio.gather(
        *(invalidate(caller, service, event) for caller, event in calls), return_exceptions=True
    )


async def partitions_of(world: World, outcome: Requested | BaseException) -> list[str]:
    assert isinstance(outcome, Requested), outcome
    rows = await world.rows(
        "SELECT partition_key FROM data_invalidations WHERE id = ANY(%s)", [*outcome.invalidations]
    )
    return [row["partition_key"] for row in rows]


@pytest.fixture
async def world(database: Database) -> World:
    return await World.made(database, source("a"), job("b", "a"))


async def test_concurrent_requests_share_transactions(world: World) -> None:
    service = world.service
    await requested(service, (world.caller, event(20)))  # reads the quotas of the org
    events = [event(n, f"key-{n}" if n % 2 else None) for n in range(20)]
    outcomes = await requested(service, *((world.caller, each) for each in events))
    for number, outcome in enumerate(outcomes):
        assert await partitions_of(world, outcome) == [day(number)]
    (row,) = await world.rows("SELECT count(DISTINCT xmin::text) AS n FROM data_invalidations")
    assert row["n"] == 3


async def test_a_repeated_request_among_others_has_the_ids_of_the_first(world: World) -> None:
    events = [event(0), event(1, "K"), event(1, "K"), event(2), event(1, "K")]
    outcomes = await requested(world.service, *((world.caller, each) for each in events))
    assert [each.is_new for each in outcomes if isinstance(each, Requested)] == [
        *(True, True, False, True, False)
    ]
    assert outcomes[1].invalidations == outcomes[2].invalidations == outcomes[4].invalidations  # type: ignore[union-attr]


async def test_a_key_used_for_another_request_affects_no_other_request(world: World) -> None:
    await requested(world.service, (world.caller, event(5, "K")))
    events = [event(0), event(1), event(6, "K"), event(2, "L"), event(5, "K")]
    outcomes = await requested(world.service, *((world.caller, each) for each in events))
    assert isinstance(outcomes[2], IdempotencyConflict)
    for index, number in ((0, 0), (1, 1), (3, 2), (4, 5)):
        assert await partitions_of(world, outcomes[index]) == [day(number)]
    assert await world.rows("SELECT 1 FROM dead_letters") == []


async def test_unknown_names_affect_no_other_request(world: World) -> None:
    events = [event(0), event(1), event(2, dataset="nothing"), event(3)]
    outcomes = await requested(world.service, *((world.caller, each) for each in events))
    assert isinstance(outcomes[2], UnknownName)
    assert [isinstance(each, Requested) for each in outcomes] == [True, True, False, True]


async def test_a_dataset_is_hidden_from_one_of_the_callers(database: Database) -> None:
    hidden = await hidden_world(database)
    stranger, member = hidden.user(Role.WRITER), hidden.user(Role.WRITER, "finance")
    secret = SourceEvent(dataset="zzsecret_mid", partitions=(DAYS[0],))
    calls = [(member, secret), (stranger, secret), (member, secret), (stranger, secret)]
    outcomes = await requested(hidden.world.service, *calls)
    assert [type(each) for each in outcomes] == [Requested, UnknownName] * 2
