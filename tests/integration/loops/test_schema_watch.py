"""Migrations that require newer code: older processes stop first, and newer processes continue."""

import asyncio
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from pathlib import Path

import psycopg
import pytest
import structlog

from engine.errors import OutdatedCode, SchemaInUse
from engine.loops import schema_watch
from engine.loops.schema_watch import SchemaWatch
from engine.store.database import Database
from engine.store.migrate import migrate, pending_migrations
from engine.store.notifications import TASKS, notify
from engine.worker import Client
from tests.support.job_code import CODE, Code
from tests.support.migrations import LATEST, later_migrations, until
from tests.support.workers import worker
from tests.support.worlds import World, job, source

NEWER = f"{LATEST + 1:04}"
MUST_STOP = f"-- knockon: oldest code {NEWER}\nALTER TABLE knockon.tasks ADD COLUMN later int"
MAY_GO_ON = f"-- knockon: oldest code {LATEST:04}\nALTER TABLE knockon.tasks ADD COLUMN later int"
DAY = "2013-02-13"
REGISTERED = (
    "SELECT pid FROM pg_locks l JOIN pg_stat_activity a USING (pid) "
    "WHERE l.locktype = 'advisory' AND l.mode = 'ShareLock' AND a.datname = current_database()"
)


@pytest.fixture
def code(monkeypatch: pytest.MonkeyPatch) -> Code:
    code = Code()
    code.install(monkeypatch)
    return code


async def queued(database: Database) -> World:
    made = job("made", "orders", config=CODE)
    world = await World.made(database, source("orders"), made)
    await world.changed("orders", DAY)
    return world


@asynccontextmanager
async def process(
    world: World, grace_seconds: float = 60.0
) -> AsyncIterator[tuple["asyncio.Task[None]", asyncio.Event]]:
    """A worker in the loop of `serve`, and the event that stops it."""
    stop = asyncio.Event()

    async def run() -> None:
        async with SchemaWatch(world.database, stop.set) as watch:
            await worker(world, grace_seconds=grace_seconds).run(stop)
            watch.check()

    running = asyncio.create_task(run())
    try:
        yield running, stop
    finally:
        running.cancel()
        await asyncio.gather(running, return_exceptions=True)


async def columns(world: World) -> int:
    (row,) = await world.rows(
        "SELECT count(*) AS n FROM information_schema.columns "
        "WHERE table_name = 'tasks' AND column_name = 'later'"
    )
    return int(row["n"])


async def test_a_worker_finishes_its_task_before_the_migration_begins(
    database: Database, database_url: str, code: Code, tmp_path: Path
) -> None:
    world = await queued(database)
    directory = later_migrations(tmp_path, MUST_STOP)
    async with process(world) as (running, stop):
        await code.started.wait()
        migrating = asyncio.create_task(migrate(database_url, directory))
        await stop.wait()
        await world.changed("orders", "2013-02-14")
        assert not running.done()
        assert not migrating.done()
        assert await columns(world) == 0
        code.release.set()
        with pytest.raises(OutdatedCode, match=f"_later requires schema {NEWER} or newer"):
            await running
    assert await migrating == [f"{NEWER}_later"]
    assert await world.tasks() == {
        "succeeded": ["made[2013-02-13]"],
        "queued": ["made[2013-02-14]"],
    }


async def test_a_worker_returns_a_task_that_exceeds_the_grace_period(
    database: Database, database_url: str, code: Code, tmp_path: Path
) -> None:
    world = await queued(database)
    directory = later_migrations(tmp_path, MUST_STOP)
    async with process(world, grace_seconds=0.1) as (running, _):
        await code.started.wait()
        assert await migrate(database_url, directory) == [f"{NEWER}_later"]
        with pytest.raises(OutdatedCode):
            await running
    assert await world.tasks() == {"queued": ["made[2013-02-13]"]}


async def test_newer_code_continues(
    database: Database, database_url: str, code: Code, tmp_path: Path
) -> None:
    world = await queued(database)
    code.release.set()

    async def succeeded(number: int) -> None:
        async def are() -> bool:
            return len((await world.tasks()).get("succeeded", ())) == number

        await until(are)

    async with process(world) as (running, _):
        await succeeded(1)
        directory = later_migrations(tmp_path, MAY_GO_ON)
        assert await migrate(database_url, directory) == [f"{NEWER}_later"]
        await world.changed("orders", "2013-02-14")
        async with world.conn() as conn:
            await notify(conn, TASKS, world.org.id)
        await succeeded(2)
        assert not running.done()


async def test_older_code_does_not_start(
    database: Database, database_url: str, tmp_path: Path
) -> None:
    directory = later_migrations(tmp_path, MUST_STOP)
    await migrate(database_url, directory)
    with pytest.raises(OutdatedCode):
        async with SchemaWatch(database):
            pass
    for older in (migrate(database_url), pending_migrations(database_url)):
        with pytest.raises(OutdatedCode):
            await older
    assert await migrate(database_url, directory) == []


async def test_a_client_may_finish_its_tasks_but_not_claim(
    database: Database, database_url: str, tmp_path: Path
) -> None:
    world = await World.made(database, source("orders"), job("made", "orders", runtime="external"))
    await world.changed("orders", DAY, "2013-02-14")
    directory = later_migrations(tmp_path, MUST_STOP)
    async with Client.connect(database_url, "external") as client:
        (lease,) = await client.claim()
        migrating = asyncio.create_task(migrate(database_url, directory))

        async def is_refused() -> bool:
            try:
                await client.claim(limit=0)
            except OutdatedCode:
                return True
            return False

        await until(is_refused)
        async with client.running(lease):
            await client.complete(lease)
        assert not migrating.done()
    assert await migrating == [f"{NEWER}_later"]
    assert await world.tasks() == {
        "succeeded": ["made[2013-02-13]"],
        "queued": ["made[2013-02-14]"],
    }


async def test_older_code_may_start_after_an_abandoned_migration(
    database: Database, database_url: str, tmp_path: Path
) -> None:
    directory = later_migrations(tmp_path, MUST_STOP)
    async with SchemaWatch(database):
        with pytest.raises(SchemaInUse, match=r"have not stopped within 0 seconds: .*pid \d+ on"):
            await migrate(database_url, directory, patience=0)
    async with SchemaWatch(database):
        pass
    assert await migrate(database_url, directory) == [f"{NEWER}_later"]


async def test_a_process_that_must_stop_stops_also_if_the_migration_is_abandoned(
    database: Database, database_url: str, tmp_path: Path
) -> None:
    directory = later_migrations(tmp_path, MUST_STOP)
    outdated = asyncio.Event()
    async with SchemaWatch(database, outdated.set) as watch:
        migrating = asyncio.create_task(migrate(database_url, directory))
        await outdated.wait()
        migrating.cancel()
        await asyncio.gather(migrating, return_exceptions=True)
        with pytest.raises(OutdatedCode):
            watch.check()

        async def can_start() -> bool:
            """The server may notice the closed connection of the migration only after a while."""
            try:
                async with SchemaWatch(database):
                    return True
            except OutdatedCode:
                return False

        await until(can_start)
    assert await migrate(database_url, directory) == [f"{NEWER}_later"]


async def test_a_migration_that_fails_while_it_is_announced_is_withdrawn(
    database: Database, database_url: str, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    directory = later_migrations(tmp_path, MUST_STOP)
    monkeypatch.setattr("engine.store.migrate.CHANNEL", "too long " * 8)
    with pytest.raises(psycopg.Error, match="channel name too long"):
        await migrate(database_url, directory)
    async with SchemaWatch(database):
        pass


async def test_a_process_registers_again_after_losing_its_connection(
    database: Database, database_url: str, tmp_path: Path
) -> None:
    world = await World.made(database, source("orders"))
    outdated = asyncio.Event()
    async with SchemaWatch(database, outdated.set):
        (first,) = await world.rows(REGISTERED)
        await world.rows("SELECT pg_terminate_backend(%s)", first["pid"])

        async def is_back() -> bool:
            return [row for row in await world.rows(REGISTERED) if row != first] != []

        await until(is_back)
        directory = later_migrations(tmp_path, MUST_STOP)
        migrating = asyncio.create_task(migrate(database_url, directory))
        await outdated.wait()
        assert not migrating.done()
    assert await migrating == [f"{NEWER}_later"]


async def test_a_failed_check_is_retried_on_the_same_connection(
    database: Database, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(schema_watch, "_POLL_SECONDS", 0.01)
    world = await World.made(database, source("orders"))
    with structlog.testing.capture_logs() as logs:
        async with SchemaWatch(database):
            registered = await world.rows(REGISTERED)
            async with world.conn() as conn:
                await conn.execute("ALTER TABLE knockon.migrations RENAME oldest_code TO renamed")

            async def has_failed_twice() -> bool:
                return len([log for log in logs if "does not exist" in log.get("why", "")]) > 1

            await until(has_failed_twice)
            assert await world.rows(REGISTERED) == registered
