"""A database of the frozen first schema, with work in every state: migrated, and finished.

Code of that time cannot continue beside the new schema: later migrations require newer code, and
stop older processes, see `tests/acceptance/cli/test_upgrade.py`.
"""

from collections.abc import AsyncIterator
from hashlib import sha256
from pathlib import Path
from shutil import copy

import psycopg
import pytest

from engine.flow.execution.reap import reap
from engine.flow.shared.org_context import OrgContext
from engine.model.states import PlanState, TaskStatus
from engine.service.commands.invalidations import replay_all
from engine.service.commands.plans import approve
from engine.service.commands.tasks import retry_all
from engine.service.queries.audit import audit
from engine.service.queries.dead_letters import dead_letters
from engine.service.queries.invalidations import invalidations
from engine.service.queries.plans import plans
from engine.service.queries.tasks import tasks
from engine.store.database import Database
from engine.store.migrate import migrate
from engine.store.migration_files import migrations_dir
from engine.store.orgs import org_id
from tests.support.compose import ROOT
from tests.support.worlds import World

_FROZEN = {"0001_schema": "f17979a1f94b11c5b6157e640a3c878636e584276d992d374c800c38d4c2d2d1"}
_ROWS = ROOT / "tests" / "support" / "schema" / "0001.sql"
_UNFINISHED = (TaskStatus.BLOCKED, TaskStatus.QUEUED, TaskStatus.RUNNING)


@pytest.mark.parametrize("name", _FROZEN)
def test_a_frozen_migration_is_unchanged(name: str) -> None:
    """Change the schema by another migration."""
    assert sha256((migrations_dir() / f"{name}.sql").read_bytes()).hexdigest() == _FROZEN[name]


@pytest.fixture
async def world(empty_database_url: str, tmp_path: Path) -> AsyncIterator[World]:
    copy(migrations_dir() / "0001_schema.sql", tmp_path)
    await migrate(empty_database_url, tmp_path)
    with psycopg.connect(empty_database_url) as conn:
        # Without checks of foreign keys and triggers, as pg_restore loads rows.
        conn.execute("SET session_replication_role = replica; DELETE FROM knockon.orgs")
        conn.execute(_ROWS.read_bytes())
    await migrate(empty_database_url)
    async with await Database.open(empty_database_url) as database:
        async with database.connection() as conn:
            org = OrgContext(await org_id(conn, "default"))
        yield World(database, org)


async def test_the_work_of_the_first_schema_is_finished(world: World) -> None:
    assert {row.status for row in await tasks(world.caller, world.service)} == {*TaskStatus}
    assert await plans(world.caller, world.service, states=[PlanState.PENDING_APPROVAL])
    async with world.conn() as conn:
        assert await reap(conn, world.org) == 1
    await _work(world)
    left = await tasks(world.caller, world.service, statuses=list(_UNFINISHED))
    (failed,) = await tasks(world.caller, world.service, statuses=[TaskStatus.FAILED])
    assert {row.block_key for row in left} <= {failed.block_key}
    assert (await audit(world.caller, world.service)).lost == 0


async def test_decisions_on_old_work_are_carried_out(world: World) -> None:
    async with world.conn() as conn:
        await reap(conn, world.org)
    (pending,) = await plans(world.caller, world.service, states=[PlanState.PENDING_APPROVAL])
    await approve(world.caller, world.service, [str(pending.id)])
    await replay_all(world.caller, world.service)
    await retry_all(world.caller, world.service)
    await _work(world)
    assert await tasks(world.caller, world.service, statuses=list(_UNFINISHED)) == []
    assert await tasks(world.caller, world.service, statuses=[TaskStatus.FAILED]) == []
    assert await invalidations(world.caller, world.service, only_open=True) == []


async def test_records_of_old_work_are_kept(world: World) -> None:
    days = ("2013-02-01", "2013-02-10", "2013-02-11")
    assert not (await world.change("orders", *days, id="first")).is_new
    assert not (await world.change("orders", "2013-02-07", id="second")).is_new
    (letter,) = await dead_letters(world.caller, world.service)
    assert letter.error == "this is not JSON"
    (position,) = await world.rows("SELECT position FROM consumer_positions")
    assert position["position"] == "9"


async def _work(world: World) -> None:
    """Plan and run until nothing is left."""
    while await world.plan() is not None or await world.run():
        pass
