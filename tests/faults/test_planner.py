"""The planner dies before each of its statements, by crash and by lost session."""

from collections.abc import Awaitable, Callable

import psycopg
import pytest

from engine.flow.planning.plan import plan
from engine.flow.shared.org_context import OrgContext
from engine.store.database import Connection, Database
from engine.store.orgs import org_id
from tests.faults.scene import Scene, only_at_length
from tests.simulation.crashes import Crash, interrupted

Death = Callable[[Scene, Connection], Awaitable[None]]
_OPEN = "SELECT count(*) FROM data_invalidations WHERE processed_at IS NULL"
_FORGET = "DELETE FROM planning_attempts RETURNING 1"


async def crash(scene: Scene, conn: Connection) -> None:
    """The process ends."""
    raise Crash


async def terminate(scene: Scene, conn: Connection) -> None:
    """The server ends the session."""
    scene.rows("SELECT pg_terminate_backend(%s, 5000)", conn.info.backend_pid)


@pytest.mark.parametrize("death", [crash, pytest.param(terminate, marks=only_at_length)])
async def test_a_planner_that_dies_before_every_statement(scene: Scene, death: Death) -> None:
    scene.services.start("consume")
    async with await Database.open(scene.url) as database:
        async with database.connection() as conn:
            org = OrgContext(await org_id(conn, "default"))
        for changes in (100, 300):  # the second time, changes join existing tasks
            await scene.produce(changes)
            await scene.producer.read_back()
            await scene.until(scene.is_read)
            await die_at_every_statement(scene, database, org, death)
    scene.services.start("engine", "worker")
    await scene.assert_right()


async def die_at_every_statement(
    scene: Scene, database: Database, org: OrgContext, death: Death
) -> None:
    at = 0
    while await dies(scene, database, org, death, at):
        at += 1
        scene.count("deaths")
    assert at > 5


async def dies(scene: Scene, database: Database, org: OrgContext, death: Death, at: int) -> bool:
    """Plan, dying before statement `at`; False if planning was complete before."""
    scene.rows(_FORGET)  # repeated unfinished attempts would isolate an invalidation
    before = scene.rows(_OPEN), scene.rows("SELECT * FROM tasks ORDER BY id")
    try:
        async with database.connection() as conn:
            with interrupted(conn, at, lambda: death(scene, conn)):
                assert await plan(conn, org) is not None
    except (Crash, psycopg.OperationalError):
        after = scene.rows(_OPEN), scene.rows("SELECT * FROM tasks ORDER BY id")
        if after[0] == [(0,)]:  # only the release of the lock was left
            return False
        assert after == before
        return True
    return False
