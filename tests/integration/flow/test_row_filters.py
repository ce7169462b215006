"""Row filters of changes: excluded partitions and rows are not stale."""

from typing import Any

import pytest

from engine.store.database import Database
from tests.support.workers import sql_job, work
from tests.support.worlds import World, source

SALES = """
    CREATE TABLE sales (dt date, shop text, amount int, region text);
    INSERT INTO sales VALUES ('2013-02-13', 'a', 1, 'x'), ('2013-02-13', 'b', 2, 'y');
"""
BY_SHOP = """
    SELECT shop, sum(amount) AS s FROM sales JOIN knockon_partition USING (shop) GROUP BY shop
"""
SHOPS = {"shop": {"static": ["a", "b"]}}


def sales(**partitioning: Any) -> dict[str, Any]:
    made = source("sales", **({"partitioning": partitioning} if partitioning else {}))
    made["outputs"][0] |= {
        "columns": ["dt", "shop", "amount", "region"],
        "storage": {"table": "sales"},
    }
    return made


async def made(database: Database, *jobs: dict[str, Any]) -> World:
    async with database.connection() as conn:
        await conn.execute(SALES.encode())
    world = await World.made(database, *jobs)
    await world.changed("sales", "2013-02-13")
    await work(world)
    return world


async def test_partitions_of_rows_that_left_the_filter_are_rebuilt(database: Database) -> None:
    """The event has the new value only, so the partition of the old value must be rebuilt too."""
    by_shop = sql_job(
        "by_shop", {"dataset": "sales", "mapping": "all"}, sql=BY_SHOP, partitioning=SHOPS
    )
    world = await made(database, sales(), by_shop)
    await world.rows("UPDATE sales SET shop = 'b' WHERE shop = 'a' RETURNING dt")
    await world.changed("sales", "2013-02-13", columns=("shop",), rows={"shop": "b"})
    await work(world)
    assert await world.rows("SELECT shop, s FROM by_shop") == [{"shop": "b", "s": 3}]


async def test_rows_of_a_new_partition_are_read_once(database: Database) -> None:
    copies = sql_job("copies", "sales", sql="SELECT dt, shop, amount FROM sales")
    world = await made(database, sales(), copies)
    await world.rows("INSERT INTO sales VALUES ('2013-02-14', 'a', 5, 'x') RETURNING dt")
    await world.changed("sales", rows={"dt": "2013-02-14"})
    await work(world)
    rows = await world.rows("SELECT dt::text, amount FROM copies ORDER BY dt, amount")
    assert [(row["dt"], row["amount"]) for row in rows] == [
        ("2013-02-13", 1),
        ("2013-02-13", 2),
        ("2013-02-14", 5),
    ]


@pytest.mark.parametrize("region", ["x", "y"])
async def test_a_column_with_the_name_of_a_dimension_stored_elsewhere(
    database: Database, region: str
) -> None:
    """The dimension `region` is stored in the column `shop`; the table has a column `region`."""
    cut = {"region": {"static": ["a", "b"], "column": "shop"}}
    copies = sql_job(
        "copies", "sales", sql="SELECT shop, amount, region FROM sales", partitioning=cut
    )
    async with database.connection() as conn:
        await conn.execute(SALES.encode())
    by_region = sales()
    by_region["outputs"][0]["partitioning"] = cut
    world = await World.made(database, by_region, copies)
    await world.changed("sales", "a")
    await world.changed("sales", "b")
    await work(world)
    await world.rows("UPDATE sales SET amount = amount + 10 WHERE region = %s RETURNING dt", region)
    await world.changed("sales", rows={"region": region})
    await work(world)
    expected = await world.rows("SELECT shop, amount FROM sales ORDER BY shop")
    assert await world.rows("SELECT shop, amount FROM copies ORDER BY shop") == expected


async def regions_by_day_and_shop(database: Database, *partitions: str) -> World:
    """Build the regions of some sales, partitioned by the day and by shops without limit."""
    cut = {"dt": {"time": "day"}, "shop": {"dynamic": True}}
    regions = sql_job(
        "regions", "sales", sql="SELECT dt, shop, region FROM sales", partitioning=cut
    )
    async with database.connection() as conn:
        await conn.execute(SALES.encode())
    world = await World.made(database, sales(**cut), regions)
    for partition in partitions:
        await world.changed("sales", partition)
    await work(world)
    return world


async def test_existing_partitions_of_an_unbounded_dimension_are_not_new(
    database: Database,
) -> None:
    """Unbounded shops: possible further shops do not make the existing shops new."""
    world = await regions_by_day_and_shop(database, "dt=2013-02-13/shop=a", "dt=2013-02-13/shop=b")
    await world.changed("sales", columns=("amount",), rows={"dt": "2013-02-13"})
    assert await world.claim() == []


async def test_a_new_partition_of_an_unbounded_dimension_changes_entirely(
    database: Database,
) -> None:
    """Both shops exist, one of them not on the day of the event: it counts as changed entirely."""
    world = await regions_by_day_and_shop(database, "dt=2013-02-13/shop=a", "dt=2013-02-14/shop=b")
    await world.changed("sales", columns=("amount",), rows={"dt": "2013-02-13"})
    claimed = [partition for lease in await world.claim() for partition in lease.partitions]
    assert claimed == ["dt=2013-02-13/shop=b"]
