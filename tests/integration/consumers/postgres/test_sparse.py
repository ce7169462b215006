"""Scattered keys are listed individually, and adjacent keys as a range."""

import pytest

from consumers.postgres.attach import attach
from engine.store.database import Database
from tests.integration.consumers.test_run import consuming, tenant
from tests.support.worlds import World, job, source

IDS = {"id": {"range": 1000}}
PAIRS = {"x": {"range": 1}, "y": {"range": 1}}


def table(name: str, partitioning: dict[str, object]) -> dict[str, object]:
    return source(name, partitioning, source={"kind": "postgres", "table": f"public.{name}"})


@pytest.fixture
async def world(database: Database) -> World:
    world = await World.made(
        database,
        table("t", IDS),
        job("b", "t", partitioning=IDS),
        table("p", PAIRS),
        source("z"),
        job("y", "z"),
    )
    async with world.conn() as conn:
        await conn.execute("CREATE TABLE t (id bigint PRIMARY KEY, v int)")
        await conn.execute("CREATE TABLE p (x int, y int, PRIMARY KEY (x, y))")
        await attach(conn, tenant(world), "t", "t", IDS)
        await attach(conn, tenant(world), "p", "p", PAIRS)
    return world


async def keys(world: World) -> list[str]:
    rows = await world.rows(
        "SELECT partition_key AS key FROM data_invalidations WHERE reason = 'arrival' ORDER BY id"
    )
    return [row["key"] for row in rows]


async def insert(world: World, table_name: str, rows: str) -> None:
    async with world.conn() as conn:
        await conn.execute(f"INSERT INTO {table_name} {rows}".encode())
    async with consuming(world, None) as heard:
        await heard(table_name)


async def test_a_backlog_of_sparse_ids_is_planned_exactly(world: World) -> None:
    """1,001 snowflake ids of one year lie in a range of 130 trillion buckets."""
    ids = [1_700_000_000_000_000_000 + n * 130_000_000_000_000 for n in range(1_001)]
    await insert(
        world,
        "t",
        "SELECT 1700000000000000000 + n * 130000000000000::bigint, n "
        "FROM generate_series(0, 1000) n",
    )
    first = [id_ // 1000 * 1000 for id_ in ids]
    assert await keys(world) == [f"{id_}-{id_ + 999}" for id_ in first]
    await world.change("z", "2013-02-13")
    done, tasks = await world.plan(), 0
    while done is not None:
        tasks, done = tasks + done.tasks, await world.plan()
    assert tasks == 1_002


async def test_adjacent_keys_are_one_range(world: World) -> None:
    await insert(world, "t", "SELECT n * 1000, n FROM generate_series(0, 4999) n")
    assert await keys(world) == ["0-999..4999000-4999999"]


async def test_pairs_with_a_large_product_are_stored_separately(world: World) -> None:
    await insert(world, "p", "SELECT n, n FROM generate_series(0, 1999) n")
    assert len(await keys(world)) == 2_000
