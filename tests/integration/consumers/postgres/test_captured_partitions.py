"""Bounds changed by a deploy: `doctor` reports tables whose triggers still use the earlier ones."""

from typing import Any

import pytest
from psycopg import AsyncConnection

from engine.service.checks.check import Check
from engine.service.commands.attachments import attach
from engine.service.queries.health import inflow
from engine.store.database import Database
from tests.support.worlds import World, job, source

TABLE = "CREATE TABLE flights (id int PRIMARY KEY, at date)"
UNCHANGED = "the triggers of tables use the deployed partitions"


def flights(**bounds: str) -> dict[str, Any]:
    """A source by day within bounds."""
    output = {"dataset": "flights", "partitioning": {"dt": {"time": "day", "zone": "UTC"} | bounds}}
    return source(
        "flights", outputs=[output], source={"kind": "postgres", "table": "public.flights"}
    )


@pytest.fixture
async def world(database: Database, database_url: str) -> World:
    """A world with an attached table, whose days have bounds."""
    async with await AsyncConnection.connect(database_url, autocommit=True) as conn:
        await conn.execute(TABLE)
    world = await World.made(database, flights(start="2013-01-01", end="2014-01-01"))
    await attached(world)
    return world


async def attached(world: World) -> None:
    await attach(world.caller, world.service, "public.flights", "flights", columns={"dt": "at"})


async def check(world: World) -> Check:
    (found,) = [
        each
        for each in await inflow(world.caller, world.service, None)
        if each.name == "captured keys"
    ]
    return found


@pytest.mark.parametrize(
    ("bounds", "remedy"),
    [
        (
            {"start": "2013-01-01", "end": "2015-01-01"},
            "attach again: knockon attach public.flights --dataset flights --partition dt=at "
            "--no-announce, and if rows of new partitions exist already: "
            "knockon invalidate flights -p 2014-01-01..2014-12-31",
        ),
        (
            {"start": "2013-02-01", "end": "2014-01-01"},
            "attach again: knockon attach public.flights --dataset flights --partition dt=at "
            "--no-announce",
        ),
        (
            {"time": "month"},
            "attach again: knockon attach public.flights --dataset flights --partition dt=at",
        ),
    ],
    ids=["wider", "narrower", "other grain"],
)
async def test_other_partitions_are_reported_until_the_table_is_attached_again(
    world: World, bounds: dict[str, str], remedy: str
) -> None:
    assert await check(world) == Check("captured keys", "ok", UNCHANGED)
    await world.deploy(flights(**bounds))
    found = await check(world)
    assert (found.verdict, found.remedy) == ("warn", remedy)
    assert "the triggers of public.flights (flights) use the partitions of an" in found.detail
    await attached(world)
    assert (await check(world)).verdict == "ok"


async def test_tables_of_datasets_no_longer_deployed_are_left_out(world: World) -> None:
    await world.deploy(source("a", source={"kind": "postgres", "table": "a"}), job("b", "a"))
    assert (await check(world)).verdict == "ok"
