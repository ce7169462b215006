"""Jobs with columns only in their SQL: the jobs reached by a change of a column."""

from typing import Any

import pytest

from engine.store.database import Database
from tests.support.workers import sql_job, work
from tests.support.worlds import World, source

DAY = "2013-02-13"
BEST = "SELECT shop, max(s) AS best FROM sums JOIN knockon_partition USING (shop) GROUP BY shop"
SALES = """
    CREATE TABLE sales (dt date, shop text, amount int, notes text);
    INSERT INTO sales VALUES ('2013-02-13', 'a', 1, 'x'), ('2013-02-13', 'b', 2, 'y');
"""


def jobs() -> list[dict[str, Any]]:
    """sales ─ copies ┬─ sums (amount, by shop) ─ most
    └─ counts (rows)
    """
    sales = source("sales")
    sales["outputs"][0] |= {
        "columns": ["dt", "shop", "amount", "notes"],
        "storage": {"table": "sales"},
    }
    return [
        sales,
        sql_job("most", "sums", sql="SELECT max(total) AS most FROM sums", partitioning={}),
        sql_job("copies", "sales", sql="SELECT * FROM sales"),
        sql_job(
            "sums", "copies", sql="SELECT shop, sum(amount) AS total FROM copies GROUP BY shop"
        ),
        sql_job("counts", "copies", sql="SELECT count(*) AS n FROM copies"),
    ]


@pytest.fixture
async def world(database: Database) -> World:
    async with database.connection() as conn:
        await conn.execute(SALES)
    world = await World.made(database, *jobs())
    await world.changed("sales", DAY)
    await work(world)
    return world


@pytest.mark.parametrize(
    ("columns", "reached"),
    [
        (("notes",), {"copies"}),
        (("amount",), {"copies", "sums", "most"}),
        (("dt",), {"copies", "sums", "most", "counts"}),
        (None, {"copies", "sums", "most", "counts"}),
    ],
)
async def test_a_change_of_columns_triggers_their_readers(
    world: World, columns: tuple[str, ...] | None, reached: set[str]
) -> None:
    await world.changed("sales", DAY, columns=columns)
    tasks = await world.tasks()
    planned = [*tasks.get("queued", ()), *tasks.get("blocked", ())]
    assert {name.partition("[")[0] for name in planned} == reached


async def test_an_added_row_triggers_readers_without_columns(world: World) -> None:
    async with world.conn() as conn:
        await conn.execute("INSERT INTO sales VALUES ('2013-02-13', 'b', 5, 'z')")
    await world.changed("sales", DAY)
    await work(world)
    assert [row["n"] for row in await world.rows("SELECT n FROM counts")] == [3]
    assert [row["most"] for row in await world.rows("SELECT most FROM most")] == [7]


async def test_another_dag_may_read_a_new_column(database: Database) -> None:
    sales, most, copies, sums, counts = jobs()
    async with database.connection() as conn:
        await conn.execute(SALES)
    world = await World.made(database, _without(sales, "notes"))
    await world.deploy(copies, counts, dag="two")
    await world.deploy(sums, most, dag="three")
    await world.changed("sales", DAY)
    await work(world)
    deployed = await world.deploy(sales)
    assert deployed.followed == ("two",)
    await work(world)
    await world.changed("sales", DAY, columns=("notes",))
    assert (await world.tasks())["queued"] == [f"copies[{DAY}]"]
    assert (await world.deploy(sales)).followed == ()


def _without(job: dict[str, Any], column: str) -> dict[str, Any]:
    (output,) = job["outputs"]
    columns = [each for each in output["columns"] if each != column]
    return job | {"outputs": [output | {"columns": columns}]}


async def test_tables_have_the_derived_columns(world: World) -> None:
    rows = await world.rows("SELECT columns FROM dataset_versions WHERE columns IS NOT NULL")
    assert ["shop", "total", "dt"] in [row["columns"] for row in rows]
    for name in ("copies", "sums", "counts", "most"):
        named = await world.rows(
            "SELECT array_agg(attname::text) AS names FROM pg_attribute "
            "WHERE attrelid = %s::regclass AND attnum > 0",
            name,
        )
        stored = await world.rows(
            "SELECT columns FROM dataset_versions v JOIN datasets d ON d.id = v.dataset_uuid "
            "WHERE d.name = %s",
            name,
        )
        assert sorted(named[0]["names"]) == sorted(stored[0]["columns"])


async def test_a_row_filter_propagates_along_columns_passed_by_sql(database: Database) -> None:
    async with database.connection() as conn:
        await conn.execute(SALES)
    sales = source("sales")
    sales["outputs"][0] |= {"columns": ["dt", "shop", "amount", "notes"]}
    shops = {"shop": {"static": ["a", "b"]}}
    world = await World.made(
        database,
        sales,
        sql_job("sums", "sales", sql="SELECT shop, sum(amount) AS s FROM sales GROUP BY shop"),
        sql_job("best", {"dataset": "sums", "mapping": "all"}, sql=BEST,
                partitioning=shops),
        sql_job("all_shops", "best", sql="SELECT sum(best) AS s FROM best", partitioning={}),
    )  # fmt: skip
    await world.changed("sales", DAY)
    await work(world)
    await world.changed("sales", DAY, rows={"shop": "b"})
    tasks = await world.tasks()
    planned = sorted([*tasks.get("queued", ()), *tasks.get("blocked", ())])
    assert planned == ["all_shops[*]", "best[b]", f"sums[{DAY}]"]
    await world.rows("UPDATE sales SET amount = 7 WHERE shop = 'b' RETURNING dt")
    await work(world)
    assert await world.rows("SELECT shop, best FROM best ORDER BY 1") == [
        {"shop": "a", "best": 1},
        {"shop": "b", "best": 7},
    ]
    assert await world.rows("SELECT s FROM all_shops") == [{"s": 8}]


OVERLOAD = """
    CREATE FUNCTION "left"(text[]) RETURNS SETOF text LANGUAGE sql AS 'SELECT unnest($1)'
"""


@pytest.mark.parametrize(("statement", "reached"), [("", set()), (OVERLOAD, {"heads"})])
async def test_an_overloaded_built_in_function_reads_everything(
    database: Database, statement: str, reached: set[str]
) -> None:
    sales = source("sales")
    sales["outputs"][0] |= {"columns": ["dt", "shop", "amount", "notes"]}
    async with database.connection() as conn:
        await conn.execute(SALES.encode())
        await conn.execute((statement or "SELECT 1").encode())
    heads = sql_job("heads", "sales", sql='SELECT "left"(shop, 1) AS head FROM sales')
    world = await World.made(database, sales, heads)
    await world.changed("sales", DAY)
    await work(world)
    await world.changed("sales", DAY, columns=("notes",))
    tasks = await world.tasks()
    assert {name.partition("[")[0] for name in tasks.get("queued", ())} == reached


async def test_names_beyond_ascii_match_those_of_the_server(
    database: Database,
) -> None:
    sales = source("sales")
    sales["outputs"][0] |= {"columns": ["dt", "shop", "amount", "notes"]}
    async with database.connection() as conn:
        await conn.execute(SALES.encode())
    world = await World.made(
        database,
        sales,
        sql_job("mid", "sales", sql="SELECT amount AS Öl, notes FROM sales"),
        sql_job("end", "mid", sql="SELECT Öl AS x FROM mid"),
    )
    await world.changed("sales", DAY)
    await work(world)
    await world.rows("UPDATE sales SET amount = amount + 10 RETURNING amount")
    await world.changed("sales", DAY, columns=("amount",))
    await work(world)
    assert [row["x"] for row in await world.rows('SELECT x FROM "end" ORDER BY x')] == [11, 12]
