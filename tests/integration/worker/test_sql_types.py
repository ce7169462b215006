"""Column types of output tables follow those of the SELECT, without loss."""

from typing import Any

import pytest

from engine.errors import TaskFailed
from engine.store.database import Database
from tests.support.workers import run_lease, sql_job, work
from tests.support.worlds import World, source

DAYS = "2013-02-12..2013-02-13"
KEYED = {"update_strategy": "append", "unique_key": ["id", "dt"]}


@pytest.fixture
async def orders(database: Database) -> Database:
    async with database.connection() as conn:
        await conn.execute("CREATE TABLE orders (id int, amount int, note text, dt date)")
        await conn.execute(
            "INSERT INTO orders VALUES (1, 10, 'a', '2013-02-12'), (2, 20, 'b', '2013-02-13')"
        )
    return database


def _copy(sql: str = "SELECT id, amount, note FROM orders", **more: Any) -> dict[str, Any]:
    return sql_job("copy", "orders", sql=sql, **more)


async def _world(orders: Database, *jobs: dict[str, Any]) -> World:
    world = await World.made(orders, source("orders"), *jobs)
    await world.changed("orders", DAYS)
    await work(world)
    return world


async def _alter(world: World, *statements: str) -> None:
    async with world.conn() as conn:
        for statement in statements:
            await conn.execute(statement.encode())


async def _amounts(world: World, table: str = "copy") -> list[str]:
    rows = await world.rows(f"SELECT amount::text FROM {table} ORDER BY id")
    return [row["amount"] for row in rows]


@pytest.mark.parametrize("more", [{}, KEYED])
async def test_a_wider_type_of_an_input_converts_the_table(
    orders: Database, more: dict[str, Any]
) -> None:
    world = await _world(orders, _copy(**more))
    await _alter(
        world,
        "ALTER TABLE orders ALTER amount TYPE numeric(10, 2)",
        "UPDATE orders SET amount = 10.49 WHERE id = 1",
    )

    await world.changed("orders", "2013-02-12")
    await work(world)

    assert await _amounts(world) == ["10.49", "20.00"]


async def test_a_rolled_back_job_has_the_types_of_its_inputs_now(orders: Database) -> None:
    world = await _world(orders, _copy())
    await _alter(
        world,
        "ALTER TABLE orders ALTER amount TYPE numeric(10, 2)",
        "UPDATE orders SET amount = 10.49 WHERE id = 1",
    )
    await world.deploy(source("orders"), _copy("SELECT id, amount + 1 AS amount, note FROM orders"))
    await work(world)
    assert await _amounts(world) == ["11.49", "21.00"]

    await world.deploy(source("orders"), _copy())
    await work(world)

    assert await _amounts(world) == ["10.49", "20.00"]


async def test_readers_run_for_a_changed_type(orders: Database) -> None:
    third = sql_job("third", "copy", sql="SELECT id, amount / 3 AS amount FROM copy")
    world = await _world(orders, _copy(), third)
    assert await _amounts(world, "third") == ["3", "6"]
    # In one partition, another column changes at the same time.
    await _alter(
        world,
        "ALTER TABLE orders ALTER amount TYPE numeric(10, 0)",
        "UPDATE orders SET note = 'c' WHERE id = 2",
    )

    await world.changed("orders", DAYS, reason="schema_change")
    await work(world)

    assert await _amounts(world, "third") == ["3.3333333333333333", "6.6666666666666667"]


async def test_types_of_all_kinds_stay(orders: Database) -> None:
    columns = [
        "'a'::public.mood AS a",
        "'{a}'::public.mood[] AS b",
        "1::public.small AS c",
        "'x' AS d",
        "'x'::varchar(3) AS e",
        "'x'::char(3) AS f",
        "'x'::\"char\" AS g",
        "'x'::name AS h",
        "now()::timestamp(3) AS i",
        "'1 day'::interval day AS j",
        "'{}'::json AS k",
        "1::numeric(10, 2) AS l",
        "'{1}'::int[] AS m",
        "B'101'::bit(3) AS n",
    ]
    async with orders.connection() as conn:
        await conn.execute("CREATE TYPE public.mood AS ENUM ('a')")
        await conn.execute("CREATE DOMAIN public.small AS int CHECK (VALUE < 10)")
    world = await _world(orders, _copy(f"SELECT id, {', '.join(columns)} FROM orders"))
    before = await world.rows("SELECT relfilenode FROM pg_class WHERE oid = 'copy'::regclass")

    await world.changed("orders", DAYS)
    await work(world)

    after = await world.rows("SELECT relfilenode FROM pg_class WHERE oid = 'copy'::regclass")
    assert after == before


@pytest.mark.parametrize(
    ("statement", "message"),
    [
        (
            "ALTER TABLE orders ALTER note TYPE int USING 1",
            r"note from text to integer\).*invalid input syntax.*drop table public.copy",
        ),
        (
            "ALTER TABLE orders ALTER amount TYPE json USING '1'",
            r"amount from integer to json\).*cannot cast type",
        ),
        (
            "ALTER TABLE orders ALTER note TYPE varchar(1)",
            r"note from text to character varying\(1\)\).*\(1 rows would change",
        ),
    ],
)
async def test_a_type_that_loses_values_is_rejected(
    orders: Database, statement: str, message: str
) -> None:
    async with orders.connection() as conn:
        await conn.execute("UPDATE orders SET note = 'long' WHERE id = 1")
    world = await _world(orders, _copy())
    await _alter(world, "UPDATE orders SET note = 'a'", statement)
    await world.changed("orders", "2013-02-13")
    (lease,) = await world.claim()

    with pytest.raises(TaskFailed, match=message):
        await run_lease(world, lease)

    rows = await world.rows("SELECT note FROM copy ORDER BY id")
    assert [row["note"] for row in rows] == ["long", "b"]


async def test_a_table_without_partitions_is_recreated_for_another_type(orders: Database) -> None:
    total = sql_job(
        "total",
        {"dataset": "orders", "mapping": "all"},
        sql="SELECT 1 AS id, max(note) AS amount FROM orders",
        partitioning={},
    )
    world = await _world(orders, total)
    assert await _amounts(world, "total") == ["b"]
    await _alter(world, "ALTER TABLE orders ALTER note TYPE int USING 7")

    await world.changed("orders", DAYS)
    await work(world)

    assert await _amounts(world, "total") == ["7"]


async def test_a_view_of_a_column_prevents_its_conversion(orders: Database) -> None:
    world = await _world(orders, _copy())
    await _alter(
        world,
        "CREATE VIEW report AS SELECT amount FROM copy",
        "ALTER TABLE orders ALTER amount TYPE numeric",
    )
    await world.changed("orders", "2013-02-13")
    (lease,) = await world.claim()

    with pytest.raises(TaskFailed, match=r"other objects depend on its columns: .*view report"):
        await run_lease(world, lease)


async def test_an_adopted_table_keeps_its_types(orders: Database) -> None:
    async with orders.connection() as conn:
        await conn.execute("CREATE TABLE copy (id int, amount bigint, note text, dt date)")
    job = _copy()
    job["outputs"][0]["storage"] = {"adopt": True}
    world = await _world(orders, job)
    await _alter(world, "ALTER TABLE orders ALTER amount TYPE numeric(10, 2)")

    await world.changed("orders", DAYS)
    await work(world)

    assert await _amounts(world) == ["10", "20"]
