"""Sessions after SQL jobs: no state of a job reaches the engine's next statement."""

import re
from collections.abc import AsyncIterator
from typing import Any
from urllib.parse import urlsplit

import pytest

from engine.errors import TaskFailed
from engine.model.task import Lease
from engine.store.database import Database
from tests.support.workers import run_lease, sql_job
from tests.support.worlds import World, source

SETUP = b"""
CREATE TABLE public.orders (dt date, amount int);
INSERT INTO public.orders VALUES ('2013-02-13', 1);
CREATE FUNCTION public.run(statement text) RETURNS text LANGUAGE plpgsql AS
$$ BEGIN EXECUTE statement; RETURN 'done'; END $$;
CREATE TABLE public.daily (amount int, dt date);
CREATE FUNCTION public.at_commit() RETURNS trigger LANGUAGE plpgsql AS
$$ BEGIN EXECUTE TG_ARGV[0]; RETURN NULL; END $$;
"""
SESSION = """
SELECT current_setting('search_path') AS path,
    current_setting('default_transaction_read_only') AS read_only,
    (SELECT count(*) FROM pg_class WHERE relnamespace = pg_my_temp_schema()) AS temporary,
    (SELECT count(*) FROM pg_prepared_statements WHERE from_sql) AS prepared,
    (SELECT count(*) FROM pg_listening_channels()) AS channels,
    (SELECT count(*) FROM pg_locks WHERE locktype = 'advisory' AND pid = pg_backend_pid()) AS locks
"""
CLEAN = {
    "path": "pg_catalog, pg_temp",
    "read_only": "off",
    "temporary": 0,
    "prepared": 0,
    "channels": 0,
    "locks": 0,
}


@pytest.fixture
async def database(database_url: str) -> AsyncIterator[Database]:
    """A pool of one connection, so that each statement meets the session state of the last."""
    parts = urlsplit(database_url)
    query = "&".join(each for each in parts.query.split("&") if not each.startswith("options="))
    async with await Database.open(parts._replace(query=query).geturl(), max_size=1) as database:
        async with database.connection() as conn:
            await conn.execute(SETUP)
        yield database


@pytest.mark.parametrize(
    "command",
    [
        "SET search_path = public, pg_catalog",
        "SET default_transaction_read_only = on",
        "CREATE TEMP TABLE tasks AS SELECT 1 AS id",
        "PREPARE one AS SELECT 1",
        "LISTEN knockon_tasks",
        "SELECT pg_advisory_lock(7)",
        "DEALLOCATE ALL",
    ],
)
async def test_session_state_of_a_commit_trigger_is_reset(database: Database, command: str) -> None:
    quoted = command.replace("'", "''")
    world = await World.made(database, source("orders"), _adopting("SELECT amount FROM orders"))
    async with database.connection() as conn:
        trigger = (
            "CREATE CONSTRAINT TRIGGER late AFTER INSERT ON public.daily DEFERRABLE INITIALLY "
            f"DEFERRED FOR EACH ROW EXECUTE FUNCTION public.at_commit('{quoted}')"
        )
        await conn.execute(trigger.encode())
    await world.changed("orders", "2013-02-13")
    await _many_statements(world)
    (lease,) = await world.claim()
    await _run(world, lease)
    assert await world.rows(SESSION) == [CLEAN]
    await _many_statements(world)


async def _run(world: World, lease: Lease) -> None:
    try:
        await run_lease(world, lease)
    except TaskFailed as error:
        # Before PostgreSQL 18 deferrable triggers are refused, and always prepared statements.
        assert re.search("has a deferrable trigger|prepared", str(error))  # noqa: PT017


async def test_prepared_statements_of_the_engine_are_protected(database: Database) -> None:
    select = "SELECT amount, public.run('DEALLOCATE ALL') AS done FROM orders"
    world = await World.made(database, source("orders"), sql_job("made", "orders", sql=select))
    await world.changed("orders", "2013-02-13")
    await _many_statements(world)
    (lease,) = await world.claim()
    with pytest.raises(TaskFailed, match="prepared statements"):
        await run_lease(world, lease)
    await _many_statements(world)


async def test_a_select_that_makes_the_transaction_read_only_fails_the_task(
    database: Database,
) -> None:
    select = "SELECT set_config('transaction_read_only', 'on', true) AS a FROM orders"
    world = await World.made(database, source("orders"), sql_job("made", "orders", sql=select))
    await world.changed("orders", "2013-02-13")
    (lease,) = await world.claim()
    with pytest.raises(TaskFailed, match="read-only"):
        await run_lease(world, lease)


async def _many_statements(world: World) -> None:
    """Enough statements of one kind for the driver to prepare."""
    for _ in range(7):
        await world.rows("SELECT count(*) FROM knockon.tasks")


def _adopting(select: str) -> dict[str, Any]:
    daily = sql_job("daily", "orders", sql=select)
    daily["outputs"][0]["storage"] = {"adopt": True}
    return daily
