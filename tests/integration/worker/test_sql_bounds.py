"""Tables of SQL jobs with other bounds: rows outside stay, and are invisible to jobs."""

from typing import Any

import pytest

from engine.store.database import Database
from tests.support.workers import sql_job, work
from tests.support.worlds import World, source

LONG = {"dt": {"time": "day", "start": "2013-02-01", "end": "2013-03-01"}}
SHORT = {"dt": {"time": "day", "start": "2013-02-13", "end": "2013-03-01"}}


@pytest.fixture
async def orders(database: Database) -> Database:
    async with database.connection() as conn:
        await conn.execute("CREATE TABLE orders (id int, amount int, dt date)")
        await conn.execute("INSERT INTO orders VALUES (1, 10, '2013-02-12'), (2, 20, '2013-02-13')")
    return database


def _jobs(
    grid: dict[str, Any], of_source: dict[str, Any] = LONG, **more: Any
) -> list[dict[str, Any]]:
    read = {"dataset": "copy", "mapping": "all"}
    select = "SELECT id, amount, dt FROM orders"
    return [
        source("orders", of_source),
        sql_job("copy", "orders", sql=select, partitioning=grid, **more),
        sql_job("total", read, sql="SELECT sum(amount) AS amount FROM copy", partitioning={}),
    ]


async def _contents(world: World) -> tuple[Any, Any, Any]:
    (oid,) = await world.rows("SELECT 'copy'::regclass::oid AS oid")
    rows = await world.rows("SELECT id FROM copy ORDER BY id")
    (total,) = await world.rows("SELECT amount FROM total")
    return oid["oid"], [row["id"] for row in rows], total["amount"]


async def test_rows_of_leaving_partitions_stay_and_are_invisible(orders: Database) -> None:
    world = await World.made(orders, *_jobs(LONG))
    await world.changed("orders", "2013-02-12", "2013-02-13")
    await work(world)
    oid, *contents = await _contents(world)
    assert contents == [[1, 2], 30]
    await world.deploy(*_jobs(SHORT))
    await work(world)
    assert await _contents(world) == (oid, [1, 2], 20)
    await world.rows("UPDATE orders SET id = 3 WHERE id = 1 RETURNING 1")
    await world.deploy(*_jobs(LONG))
    await work(world)
    assert await _contents(world) == (oid, [2, 3], 30)


async def test_a_table_with_other_bounds_is_replaced_in_place_by_a_new_definition(
    orders: Database,
) -> None:
    world = await World.made(orders, *_jobs(LONG))
    await world.changed("orders", "2013-02-12", "2013-02-13")
    await work(world)
    (oid, *_) = await _contents(world)
    await world.deploy(*_jobs(SHORT))
    await work(world)
    await world.deploy(*_jobs(SHORT, version="2"))
    await work(world)
    assert await _contents(world) == (oid, [2], 20)


async def test_a_single_run_leaves_rows_outside_the_bounds_alone(orders: Database) -> None:
    full = {"execution_strategy": "Full"}
    world = await World.made(orders, *_jobs(LONG, **full))
    await world.changed("orders", "2013-02-12", "2013-02-13")
    await work(world)
    oid, *contents = await _contents(world)
    assert contents == [[1, 2], 30]
    await world.deploy(*_jobs(SHORT, SHORT, **full))
    await work(world)
    assert await _contents(world) == (oid, [1, 2], 20)
    await world.changed("orders", "2013-02-13")
    await work(world)
    assert await _contents(world) == (oid, [1, 2], 20)
