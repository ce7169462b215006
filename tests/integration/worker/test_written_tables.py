"""Functions in a SELECT that change tables of other datasets: the run is rolled back."""

import pytest

from engine.errors import TaskFailed
from engine.store.database import Database
from tests.support.workers import run_lease, sql_job, work
from tests.support.worlds import World, source

_SETUP = """
CREATE TABLE orders (id int, dt date);
INSERT INTO orders VALUES (1, '2013-02-13');
CREATE TABLE raw (id int, dt date) PARTITION BY RANGE (id);
CREATE TABLE raw_few PARTITION OF raw FOR VALUES FROM (0) TO (5);
CREATE TABLE raw_many PARTITION OF raw FOR VALUES FROM (5) TO (9);
INSERT INTO raw VALUES (1, '2013-02-13'), (6, '2013-02-13');
CREATE FUNCTION public.change() RETURNS int SECURITY DEFINER LANGUAGE plpgsql AS $$
BEGIN {} RETURN 1; END $$
"""
_KEPT = sql_job("kept", "orders", sql="SELECT id FROM orders")
_CHANGING = "SELECT id, public.change() AS one FROM orders"


async def _world(database: Database, body: str) -> World:
    async with database.connection() as conn:
        await conn.execute(_SETUP.format(body).encode())
    world = await World.made(database, source("orders"), source("raw"), _KEPT)
    await world.changed("orders", "2013-02-13")
    await work(world)
    async with database.connection() as conn:
        await conn.execute(
            "CREATE TRIGGER quiet BEFORE UPDATE ON kept FOR EACH STATEMENT"
            " EXECUTE FUNCTION suppress_redundant_updates_trigger()"
        )
    changing = sql_job("changing", "orders", sql=_CHANGING)
    await world.deploy(source("orders"), source("raw"), _KEPT, changing)
    return world


@pytest.mark.parametrize(
    "body",
    [
        "DELETE FROM public.kept;",
        "TRUNCATE public.kept;",
        "BEGIN TRUNCATE public.kept; EXCEPTION WHEN division_by_zero THEN END;",
        "DROP TABLE public.kept;",
        "ALTER TABLE public.kept RENAME TO gone;",
        "ALTER TABLE public.kept ALTER id TYPE bigint;",
        "ALTER TABLE public.kept RENAME id TO other;",
        "ALTER TABLE public.kept DROP COLUMN dt;",
        "ALTER TABLE public.kept DISABLE TRIGGER quiet;",
        "DROP TRIGGER quiet ON public.kept;",
        "ALTER TABLE public.kept RENAME TO gone; CREATE TABLE public.kept AS TABLE public.gone;",
        "DELETE FROM public.raw_few;",
        "TRUNCATE public.raw_few;",
        "TRUNCATE public.raw;",
        "ALTER TABLE public.raw DETACH PARTITION public.raw_few;",
        "DROP TABLE public.raw_few;",
    ],
)
async def test_a_changed_table_of_another_dataset_fails_the_run(
    database: Database, body: str
) -> None:
    world = await _world(database, body)
    (lease,) = await world.claim()

    with pytest.raises(TaskFailed, match=r"also wrote to public.(kept|raw), which holds"):
        await run_lease(world, lease)

    assert await world.rows("SELECT id FROM kept") == [{"id": 1}]
    assert await world.rows("SELECT id FROM raw ORDER BY id") == [{"id": 1}, {"id": 6}]


@pytest.mark.parametrize(
    "body",
    [
        "CREATE TEMP TABLE kept (id int); INSERT INTO kept VALUES (1); DROP TABLE kept;",
        "LOCK TABLE public.kept, public.raw IN ACCESS EXCLUSIVE MODE;",
        "ANALYZE public.kept; COMMENT ON TABLE public.raw IS 'rows';",
        "CREATE TABLE IF NOT EXISTS public.log (id int); TRUNCATE public.log;",
    ],
)
async def test_a_run_that_changes_no_table_of_a_dataset_succeeds(
    database: Database, body: str
) -> None:
    world = await _world(database, body)

    await work(world)

    assert await world.rows("SELECT id FROM changing") == [{"id": 1}]


async def test_a_table_with_a_foreign_key_to_another_dataset_is_recreated(
    database: Database,
) -> None:
    world = await _world(database, "")
    await work(world)
    async with world.conn() as conn:
        await conn.execute("ALTER TABLE public.kept ADD PRIMARY KEY (id)")
        await conn.execute("ALTER TABLE public.changing ADD FOREIGN KEY (id) REFERENCES kept (id)")

    narrower = sql_job("changing", "orders", sql="SELECT id FROM orders")
    await world.deploy(source("orders"), source("raw"), _KEPT, narrower)
    await work(world)

    assert await world.rows("SELECT * FROM changing") == [
        {"id": 1, "dt": (await world.rows("SELECT dt FROM orders"))[0]["dt"]}
    ]
