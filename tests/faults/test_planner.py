"""The planner dies before each of its statements, by crash and by lost session."""

from collections.abc import Awaitable, Callable

import psycopg
import pytest

from engine.flow.planning.plan import plan
from engine.flow.shared.org_context import OrgContext
from engine.store.database import Connection, Database
from engine.store.orgs import org_id
from tests.faults.harness import Harness, long_run_only
from tests.simulation.crashes import Crash, interrupted

Death = Callable[[Harness, Connection], Awaitable[None]]
_OPEN = "SELECT count(*) FROM data_invalidations WHERE processed_at IS NULL"
_DELETE_ATTEMPTS = "DELETE FROM planning_attempts RETURNING 1"


async def crash(harness: Harness, conn: Connection) -> None:
    """The process ends."""
    raise Crash


async def terminate(harness: Harness, conn: Connection) -> None:
    """The server ends the session."""
    harness.rows("SELECT pg_terminate_backend(%s, 5000)", conn.info.backend_pid)


@pytest.mark.parametrize("death", [crash, pytest.param(terminate, marks=long_run_only)])
async def test_planner_dies_before_every_statement(harness: Harness, death: Death) -> None:
    harness.services.start("consume")
    async with await Database.open(harness.url) as database:
        async with database.connection() as conn:
            org = OrgContext(await org_id(conn, "default"))
        for changes in (100, 300):  # the second time, changes join existing tasks
            await harness.produce(changes)
            await harness.producer.read_back()
            await harness.until(harness.is_consumed)
            await die_at_every_statement(harness, database, org, death)
    harness.services.start("engine", "worker")
    await harness.assert_consistent()


async def die_at_every_statement(
    harness: Harness, database: Database, org: OrgContext, death: Death
) -> None:
    statement = 0
    while await dies(harness, database, org, death, statement):
        statement += 1
        harness.count("deaths")
    assert statement > 5


async def dies(
    harness: Harness, database: Database, org: OrgContext, death: Death, statement: int
) -> bool:
    """Plan, dying before the statement with this index; False if planning was complete before."""
    harness.rows(_DELETE_ATTEMPTS)  # repeated unfinished attempts would isolate an invalidation
    before = harness.rows(_OPEN), harness.rows("SELECT * FROM tasks ORDER BY id")
    try:
        async with database.connection() as conn:
            with interrupted(conn, statement, lambda: death(harness, conn)):
                assert await plan(conn, org) is not None
    except (Crash, psycopg.OperationalError):
        after = harness.rows(_OPEN), harness.rows("SELECT * FROM tasks ORDER BY id")
        if after[0] == [(0,)]:  # only the release of the lock was left
            return False
        assert after == before
        return True
    return False
