"""Output tables: created, recreated and unchanged tables."""

import asyncio
from typing import Any

import pytest

from engine.errors import TaskFailed
from engine.store.database import Database
from tests.support.workers import run_lease, sql_job, work
from tests.support.worlds import DAILY, WEEKLY, World, source


@pytest.fixture
async def orders(database: Database) -> Database:
    async with database.connection() as conn:
        await conn.execute("CREATE TABLE orders (id int, amount int, dt date)")
        await conn.execute("INSERT INTO orders VALUES (1, 10, '2013-02-12'), (2, 20, '2013-02-13')")
    return database


def _copy(sql: str = "SELECT id, amount FROM orders", **more: Any) -> dict[str, Any]:
    return sql_job("copy", "orders", sql=sql, **more)


async def _run(world: World) -> None:
    await world.changed("orders", "2013-02-13")
    await work(world)


async def _columns(world: World, table: str = "copy") -> dict[str, str]:
    rows = await world.rows(
        "SELECT attname AS name, format_type(atttypid, atttypmod) AS type FROM pg_attribute"
        " WHERE attrelid = %s::regclass AND attnum > 0 AND NOT attisdropped ORDER BY attnum",
        table,
    )
    return {row["name"]: row["type"] for row in rows}


async def _count(world: World, table: str = "copy") -> int:
    (row,) = await world.rows(f"SELECT count(*) AS n FROM {table}")
    return int(row["n"])


async def test_a_table_is_created_with_its_schema_types_and_indexes(orders: Database) -> None:
    job = _copy(
        "SELECT id, amount::numeric(10, 2), 'x'::varchar(3) AS code FROM orders",
        update_strategy="append",
        unique_key=["id", "dt"],
    )
    job["outputs"][0]["storage"] = {"table": "Mart.Copy"}
    world = await World.made(orders, source("orders"), job)

    await _run(world)

    assert await _columns(world, '"Mart"."Copy"') == {
        "id": "integer",
        "amount": "numeric(10,2)",
        "code": "character varying(3)",
        "dt": "date",
    }
    indexes = await world.rows("SELECT indexdef FROM pg_indexes WHERE tablename = 'Copy'")
    assert sorted(row["indexdef"].partition(" USING ")[2] for row in indexes) == [
        "btree (dt)",
        "btree (id, dt) NULLS NOT DISTINCT",
    ]


async def test_concurrent_tasks_create_a_table_once(orders: Database) -> None:
    world = await World.made(orders, source("orders"), _copy())
    await world.changed("orders", "2013-02-12..2013-02-13")
    leases = await world.claim()

    await asyncio.gather(*(run_lease(world, lease) for lease in leases))

    assert (len(leases), await _count(world)) == (2, 2)


async def test_new_columns_recreate_the_table(orders: Database) -> None:
    world = await World.made(orders, source("orders"), _copy())
    await _run(world)

    await world.deploy(source("orders"), _copy("SELECT id, amount * 2 AS double FROM orders"))
    await _run(world)

    assert await _columns(world) == {"id": "integer", "double": "integer", "dt": "date"}


async def test_a_new_definition_with_the_same_columns_replaces_in_place(orders: Database) -> None:
    world = await World.made(orders, source("orders"), _copy())
    await world.changed("orders", "2013-02-12..2013-02-13")
    await work(world)
    before = await world.rows("SELECT 'copy'::regclass::oid AS oid")

    await world.deploy(source("orders"), _copy("SELECT id, amount + 1 AS amount FROM orders"))
    await world.changed("orders", "2013-02-13")
    await work(world)

    assert await world.rows("SELECT 'copy'::regclass::oid AS oid") == before
    rows = await world.rows("SELECT amount FROM copy WHERE dt = '2013-02-13'")
    assert rows == [{"amount": 21}]


async def test_partitions_that_a_new_definition_does_not_build_are_deleted(
    orders: Database,
) -> None:
    async with orders.connection() as conn:
        await conn.execute("CREATE TABLE sales (id int, amount int, dt date)")
        await conn.execute("INSERT INTO sales VALUES (3, 30, '2013-02-13'), (4, 40, '2013-02-14')")
    sources = source("orders"), source("sales")
    world = await World.made(orders, *sources, _copy())
    await world.changed("orders", "2013-02-12..2013-02-13")
    await work(world)
    await world.changed("sales", "2013-02-13..2013-02-14")
    before = await world.rows("SELECT 'copy'::regclass::oid AS oid")

    await world.deploy(*sources, sql_job("copy", "sales", sql="SELECT id, amount FROM sales"))
    await work(world)

    assert await world.rows("SELECT 'copy'::regclass::oid AS oid") == before
    assert await world.rows("SELECT id FROM copy ORDER BY id") == [{"id": 3}, {"id": 4}]


async def test_a_new_definition_keeps_backfilled_partitions(orders: Database) -> None:
    world = await World.made(orders, source("orders"), _copy())
    await world.changed("copy", "2013-02-12..2013-02-13", reason="manual")
    await work(world)
    await world.changed("orders", "2013-02-13")
    await work(world)

    await world.deploy(source("orders"), _copy("SELECT id, amount + 1 AS amount FROM orders"))
    await work(world)

    rows = await world.rows("SELECT amount FROM copy ORDER BY amount")
    assert [row["amount"] for row in rows] == [11, 21]


async def test_a_new_partitioning_or_append_strategy_starts_from_an_empty_table(
    orders: Database,
) -> None:
    world = await World.made(orders, source("orders"), _copy("SELECT id, dt FROM orders"))
    await world.changed("orders", "2013-02-12..2013-02-13")
    await work(world)
    assert await _count(world) == 2
    before = await world.rows("SELECT 'copy'::regclass::oid AS oid")

    await world.deploy(
        source("orders"), _copy("SELECT id, dt FROM orders WHERE id = 1", partitioning=WEEKLY)
    )
    await world.changed("orders", "2013-02-13")
    await work(world)

    assert await world.rows("SELECT 'copy'::regclass::oid AS oid") != before
    assert await _count(world) == 1


async def test_a_replaced_table_has_no_unique_index_of_an_earlier_append(
    orders: Database,
) -> None:
    world = await World.made(
        orders, source("orders"), _copy(update_strategy="append", unique_key=["dt"])
    )
    await _run(world)

    await world.deploy(source("orders"), _copy())
    await work(world)
    await world.rows("INSERT INTO orders VALUES (3, 30, '2013-02-13') RETURNING id")
    await _run(world)

    assert await world.rows("SELECT id FROM copy ORDER BY id") == [{"id": 2}, {"id": 3}]


async def test_a_table_with_dependents_is_not_dropped(orders: Database) -> None:
    world = await World.made(orders, source("orders"), _copy())
    await _run(world)
    async with world.conn() as conn:
        await conn.execute("CREATE VIEW report AS SELECT id FROM copy")

    await world.deploy(source("orders"), _copy("SELECT id FROM orders"))
    await world.changed("orders", "2013-02-13")
    leases = await world.claim()

    with pytest.raises(TaskFailed, match="view report depends on table copy"):
        await run_lease(world, leases[0])
    assert await _count(world, "report") == 1


async def test_an_adopted_table_is_used_if_it_fits(orders: Database) -> None:
    async with orders.connection() as conn:
        await conn.execute("CREATE TABLE copy (dt date, amount numeric(6, 1), id bigint)")
        await conn.execute("INSERT INTO copy VALUES ('2013-02-12', 5, 5), ('2013-02-13', 6, 6)")
    job = _copy()
    job["outputs"][0]["storage"] = {"adopt": True}
    world = await World.made(orders, source("orders"), job)

    await _run(world)

    rows = await world.rows("SELECT id, amount::text FROM copy ORDER BY dt")
    assert rows == [{"id": 5, "amount": "5.0"}, {"id": 2, "amount": "20.0"}]


async def test_an_adopted_table_is_never_dropped(orders: Database) -> None:
    async with orders.connection() as conn:
        await conn.execute("CREATE TABLE copy (precious int)")
        await conn.execute("INSERT INTO copy VALUES (1)")
    job = _copy()
    job["outputs"][0]["storage"] = {"adopt": True}
    world = await World.made(orders, source("orders"), job)
    await world.changed("orders", "2013-02-13")
    (lease,) = await world.claim()

    with pytest.raises(TaskFailed, match=r"has the columns precious, but .* id, amount, dt"):
        await run_lease(world, lease)

    assert await _count(world) == 1


async def test_a_dropped_table_is_recreated(orders: Database) -> None:
    world = await World.made(orders, source("orders", DAILY), _copy())
    await _run(world)
    async with world.conn() as conn:
        await conn.execute("DROP TABLE copy")

    await _run(world)

    assert await _count(world) == 1
