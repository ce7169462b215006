"""Functions, operators and views behind a SELECT: changing one changes the job's definition."""

from typing import Any

import pytest

from engine.errors import InvalidInput
from engine.store.database import Database
from tests.support.workers import run_lease, sql_job, work
from tests.support.worlds import World, source

SETUP = """
CREATE SCHEMA lib;
CREATE TABLE orders (id int, dt date);
CREATE TABLE rates (rate int);
INSERT INTO orders VALUES (1, '2013-02-13');
INSERT INTO rates VALUES (2);
CREATE VIEW current_rates AS SELECT rate FROM rates;
CREATE FUNCTION lib.inner_rate() RETURNS int LANGUAGE sql AS 'SELECT max(rate) FROM current_rates';
CREATE FUNCTION rated(x int) RETURNS int LANGUAGE plpgsql AS $$
BEGIN EXECUTE 'SELECT lib.inner_rate()' INTO STRICT x; RETURN x; END $$;
CREATE FUNCTION lib.atomic(x int) RETURNS int BEGIN ATOMIC SELECT public.rated(x); END;
CREATE FUNCTION lib.plus(x int, y int) RETURNS int LANGUAGE sql AS 'SELECT x + y';
CREATE FUNCTION lib.times(x int, y text) RETURNS int LANGUAGE sql AS 'SELECT x';
CREATE OPERATOR public.+@+ (LEFTARG = int, RIGHTARG = int, FUNCTION = lib.plus);
CREATE AGGREGATE lib.total (int) (SFUNC = lib.plus, STYPE = int, INITCOND = '0');
CREATE VIEW orders_view AS SELECT id +@+ 1 AS id, dt FROM orders;
CREATE FUNCTION "Odd name"(x int) RETURNS int LANGUAGE sql AS 'SELECT x';
GRANT USAGE ON SCHEMA lib TO PUBLIC;
GRANT SELECT ON ALL TABLES IN SCHEMA public TO PUBLIC;
"""
CHANGE_PLUS = (
    "CREATE OR REPLACE FUNCTION lib.plus(x int, y int) RETURNS int LANGUAGE sql"
    " AS 'SELECT x + y + 1'"
)
CHANGE_VIEW = "CREATE OR REPLACE VIEW current_rates AS SELECT rate + 1 AS rate FROM rates"
CASES = [
    ("SELECT rated(id) AS x FROM orders", CHANGE_VIEW, "view public.current_rates has changed"),
    ("SELECT lib . atomic /* */ (id) AS x FROM orders", CHANGE_VIEW, "view public.current_rates"),
    (
        "SELECT id +@+ 1 AS x FROM orders",
        CHANGE_PLUS,
        r"function lib.plus\(integer,integer\) has changed",
    ),
    ("SELECT lib.total(id) AS x FROM orders", CHANGE_PLUS, "function lib.plus"),
    (
        'SELECT "Odd name"(id) AS x FROM orders',
        'DROP FUNCTION "Odd name"',
        r'function public."Odd name"\(integer\) is missing',
    ),
    (
        "SELECT RATED(id) AS x FROM orders",
        "CREATE FUNCTION rated(x text) RETURNS int LANGUAGE sql AS 'SELECT 1'",
        r"function public.rated\(text\) is new",
    ),
    (
        "SELECT abs(id) AS x FROM orders",
        "CREATE FUNCTION public.abs(x text) RETURNS int LANGUAGE sql AS 'SELECT 1'",
        r"function public.abs\(text\) is new",
    ),
    (
        "SELECT id*-1 AS x FROM orders",
        "CREATE OPERATOR public.* (LEFTARG = int, RIGHTARG = text, FUNCTION = lib.times)",
        r"operator public.\*\(integer,text\) is new",
    ),
]


@pytest.fixture
async def code(database: Database) -> Database:
    """A table with user-defined code around it."""
    async with database.connection() as conn:
        await conn.execute("SET search_path = public")
        await conn.execute(SETUP.encode())
        await conn.execute("RESET search_path")
    return database


def _job(sql: str, **more: Any) -> dict[str, Any]:
    return sql_job("made", "orders", sql=sql, **more)


async def _execute(world: World, statement: str) -> None:
    async with world.conn() as conn, conn.transaction():
        await conn.execute("SET LOCAL search_path = public")
        await conn.execute(statement.encode())


@pytest.mark.parametrize(("sql", "change", "message"), CASES)
async def test_a_change_fails_the_next_task_and_is_built_by_the_next_deploy(
    code: Database, sql: str, change: str, message: str
) -> None:
    world = await World.made(code, source("orders"), _job(sql))
    await world.changed("orders", "2013-02-13")
    await work(world)

    await _execute(world, change)
    await world.changed("orders", "2013-02-13")
    (lease,) = await world.claim()
    with pytest.raises(InvalidInput, match=message):
        await run_lease(world, lease)

    deployed = await world.deploy(source("orders"), _job(sql))
    # For an overloaded built-in function the lineage differs as well.
    assert "code" in deployed.dags[0].diff.changed["made"]
    assert list(deployed.dags[0].diff.regenerated) == ["made"]
    assert deployed.tasks > 0


async def test_the_hash_of_an_input_view_includes_its_dependencies(code: Database) -> None:
    orders = source("orders")
    orders["outputs"][0]["storage"] = {"table": "orders_view"}
    world = await World.made(code, orders, _job("SELECT id FROM orders"))

    await _execute(world, CHANGE_PLUS)

    deployed = await world.deploy(orders, _job("SELECT id FROM orders"))
    assert deployed.dags[0].diff.changed == {"made": ("code",)}


async def test_the_same_code_is_the_same_version(code: Database) -> None:
    job = _job("SELECT rated(id) +@+ 1 AS x, count(*) OVER () AS n FROM orders")
    world = await World.made(code, source("orders"), job)
    await _execute(
        world,
        "CREATE FUNCTION unrelated(x int) RETURNS int LANGUAGE sql AS 'SELECT 1';"
        "CREATE VIEW orders_too AS SELECT * FROM orders",
    )

    deployed = await world.deploy(source("orders"), job)

    assert (deployed.dags[0].diff.changed, deployed.tasks) == ({}, 0)
    await world.changed("orders", "2013-02-13")
    await work(world)


async def test_a_declared_version_replaces_the_hashes(code: Database) -> None:
    sql = "SELECT rated(id) AS x FROM orders"
    world = await World.made(code, source("orders"), _job(sql, version="1"))
    await _execute(world, CHANGE_VIEW)
    await world.changed("orders", "2013-02-13")
    await work(world)

    same = await world.deploy(source("orders"), _job(sql, version=1))
    assert same.dags[0].diff.changed == {}
    other = await world.deploy(source("orders"), _job(sql, version=2))
    assert other.dags[0].diff.changed == {"made": ("version",)}
    assert list(other.dags[0].diff.regenerated) == ["made"]


async def test_hashes_are_kept_when_an_upstream_dag_is_deployed(code: Database) -> None:
    upstream = [source("orders"), sql_job("copy", "orders", sql="SELECT id FROM orders")]
    reader = sql_job("made", "copy", sql="SELECT *, rated(1) AS r FROM copy")
    world = await World.made(code, *upstream, dag="up")
    await world.deploy(reader, dag="down")

    upstream[1]["config"]["sql"] = "SELECT id, 1 AS more FROM orders"
    await world.deploy(*upstream, dag="up")

    rows = await world.rows(
        "SELECT j.code FROM knockon.dag_current_versions c"
        " JOIN knockon.jobs j USING (dag_version_id) WHERE j.name = 'made'"
    )
    assert "function public.rated(integer)" in rows[0]["code"]
