"""Deploys of a SELECT in another form: equal queries keep their dataset versions."""

import re
from typing import Any

import pytest

from engine.store.database import Database
from tests.support.workers import sql_job, work
from tests.support.worlds import World, source

DAY = "2013-02-13"
SELECT = (
    "SELECT s.shop, sum(s.amount) AS total FROM sales AS s WHERE (s.amount > 0) GROUP BY s.shop"
)
TABLE = """
    CREATE TABLE sales (dt date, shop text, amount int);
    INSERT INTO sales VALUES ('2013-02-13', 'a', 1), ('2013-02-13', 'b', 2);
"""


def sums(sql: str = SELECT, **output: Any) -> dict[str, Any]:
    made = sql_job("sums", "sales", sql=sql)
    made["outputs"][0] |= output
    return made


def sales() -> dict[str, Any]:
    made = source("sales")
    made["outputs"][0] |= {"columns": ["dt", "shop", "amount"]}
    return made


@pytest.fixture
async def world(database: Database) -> World:
    async with database.connection() as conn:
        await conn.execute(TABLE)
    world = await World.made(database, sales(), sums())
    await world.changed("sales", DAY)
    await work(world)
    return world


async def versions(world: World) -> int:
    (row,) = await world.rows("SELECT count(*) AS n FROM dataset_versions")
    return int(row["n"])


@pytest.mark.parametrize(
    "sql",
    [
        SELECT.replace(" ", "\n  ") + "; -- as before",
        SELECT.lower(),
        SELECT.replace("s.", "q.").replace("AS s ", "q "),
        SELECT.replace("s.", "sales.").replace(" AS s ", " "),
        SELECT.replace("(", "((", 1)
        .replace(")", "))", 1)
        .replace("(s.amount > 0)", "s.amount > 0"),
    ],
    ids=["spaces", "case", "alias", "no alias", "parentheses"],
)
async def test_another_form_of_the_query_rebuilds_nothing(world: World, sql: str) -> None:
    before = await versions(world)
    deployed = await world.deploy(sales(), sums(sql))
    assert (deployed.tasks, await versions(world)) == (0, before)
    await world.changed("sales", DAY)
    await work(world)
    rows = await world.rows("SELECT shop, total FROM sums ORDER BY shop")
    assert [(row["shop"], row["total"]) for row in rows] == [("a", 1), ("b", 2)]


async def test_another_query_is_rebuilt(world: World) -> None:
    deployed = await world.deploy(sales(), sums(SELECT.replace("> 0", ">= 0")))
    assert deployed.tasks == 1


@pytest.mark.parametrize("columns", [["total", "shop"], ["dt", "total", "shop"]])
async def test_a_list_of_the_derived_columns_rebuilds_nothing(
    world: World, columns: list[str]
) -> None:
    before = await versions(world)
    for output in ({"columns": columns}, {}):
        deployed = await world.deploy(sales(), sums(**output))
        assert (deployed.tasks, await versions(world)) == (0, before)


async def test_a_list_of_other_columns_is_another_definition(world: World) -> None:
    deployed = await world.deploy(sales(), sums(columns=["shop", "total", "more"]))
    assert deployed.tasks == 1


async def test_versions_with_hashes_of_an_earlier_release_are_kept(world: World) -> None:
    """The hash of an earlier release was that of the text."""
    await world.rows("UPDATE jobs SET config_hash = 'earlier' WHERE name = 'sums' RETURNING 1")
    await world.rows(
        "UPDATE partition_versions SET config_hash = 'earlier' WHERE task_id IS NOT NULL "
        "RETURNING 1"
    )
    (row,) = await world.rows("SELECT id, content::text AS content FROM dag_versions")
    content = re.sub(r'("config_hash": )"[0-9a-f]{64}"', r'\1"earlier"', row["content"])
    await world.rows(
        "UPDATE dag_versions SET content = %s::jsonb WHERE id = %s RETURNING 1", content, row["id"]
    )
    deployed = await world.deploy(sales(), sums(SELECT.lower()))
    assert deployed.tasks == 0
    rows = await world.rows("SELECT DISTINCT config_hash FROM jobs WHERE name = 'sums'")
    assert [row["config_hash"] for row in rows] == ["earlier"]
