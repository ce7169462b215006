"""Migrations against a real database."""

import asyncio
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from pathlib import Path

import psycopg
import pytest
from psycopg import AsyncConnection
from psycopg.rows import TupleRow

from engine.errors import InvalidInput, SchemaInUse
from engine.store import migration_files
from engine.store.compatibility import missing_migrations
from engine.store.database import open_connection
from engine.store.migrate import migrate, pending_migrations
from engine.store.migration_files import read_migrations
from tests.support.migrations import catalog, later_migrations, until
from tests.support.proxy import proxy_to

INDEX = """-- knockon: outside transaction
CREATE INDEX CONCURRENTLY IF NOT EXISTS thing_by_id ON public.thing (id)"""


@pytest.fixture
def migrations(tmp_path: Path) -> Path:
    (tmp_path / "0001_thing.sql").write_text("CREATE TABLE public.thing (id int); SELECT '%';")
    (tmp_path / "0002_other.sql").write_text("CREATE TABLE public.other (id int);")
    return tmp_path


@asynccontextmanager
async def connected(url: str) -> AsyncIterator[AsyncConnection[TupleRow]]:
    async with await AsyncConnection.connect(url, autocommit=True) as conn:
        yield conn


async def value(conn: AsyncConnection[TupleRow], text: str, *params: object) -> object:
    row = await (await conn.execute(text.encode(), params)).fetchone()
    return None if row is None else row[0]


async def is_valid(conn: AsyncConnection[TupleRow], index: str = "thing_by_id") -> object:
    """Check an index for validity; None if it is missing."""
    return await value(
        conn,
        "SELECT indisvalid FROM pg_index WHERE indexrelid = to_regclass(%s)",
        f"public.{index}",
    )


async def waits(conn: AsyncConnection[TupleRow], statement: str) -> bool:
    """Check for a session that waits for a lock within a statement."""
    found = "SELECT count(*) FROM pg_stat_activity WHERE wait_event_type = 'Lock' AND query LIKE %s"
    return await value(conn, f"{found} AND datname = current_database()", f"%{statement}%") != 0


async def test_migrations_are_applied_once_in_order(
    empty_database_url: str, migrations: Path
) -> None:
    assert await migrate(empty_database_url, migrations) == ["0001_thing", "0002_other"]
    assert await migrate(empty_database_url, migrations) == []
    (migrations / "0003_last.sql").write_text("DROP TABLE public.other")
    assert await migrate(empty_database_url, migrations) == ["0003_last"]


async def test_concurrent_runs_take_turns(empty_database_url: str, migrations: Path) -> None:
    """A concurrent build waits for all snapshots, so waiting migrations must not hold any."""
    for number in range(3, 7):
        text = INDEX.replace("thing_by_id", f"thing_{number}")
        (migrations / f"{number:04}_index.sql").write_text(text)
    async with asyncio.timeout(60):
        done = await asyncio.gather(*(migrate(empty_database_url, migrations) for _ in range(4)))
    assert sorted(map(len, done)) == [0, 0, 0, 6]


async def test_a_session_kept_by_a_pooler_does_not_keep_the_lock(
    empty_database_url: str, migrations: Path
) -> None:
    async with proxy_to(empty_database_url, keeps_sessions=True) as pooler:
        await migrate(pooler.url, migrations)
        (migrations / "0003_index.sql").write_text(INDEX)
        async with asyncio.timeout(60):
            assert await migrate(empty_database_url, migrations) == ["0003_index"]


async def test_a_changed_file_is_rejected(empty_database_url: str, migrations: Path) -> None:
    await migrate(empty_database_url, migrations)
    (migrations / "0001_thing.sql").write_text("CREATE TABLE public.thing (id bigint)")
    with pytest.raises(InvalidInput, match="0001_thing was changed after it was applied"):
        await migrate(empty_database_url, migrations)
    with pytest.raises(InvalidInput, match="0001_thing was changed after it was applied"):
        await pending_migrations(empty_database_url, migrations)


async def test_a_changed_file_is_reported_for_a_table_without_the_oldest_code(
    empty_database_url: str,
) -> None:
    async with connected(empty_database_url) as conn:
        await conn.execute(
            "CREATE SCHEMA knockon CREATE TABLE migrations (version int PRIMARY KEY, "
            "name text NOT NULL, checksum text NOT NULL, "
            "applied_at timestamptz NOT NULL DEFAULT now())"
        )
        await conn.execute(
            "INSERT INTO knockon.migrations (version, name, checksum) "
            "VALUES (1, 'schema', 'former')"
        )
    with pytest.raises(InvalidInput, match="0001_schema was changed after it was applied"):
        await migrate(empty_database_url)


async def test_a_failing_file_is_rolled_back(empty_database_url: str, migrations: Path) -> None:
    broken = migrations / "0002_other.sql"
    broken.write_text("CREATE TABLE public.other (id int); SELECT 1/0;")
    with pytest.raises(psycopg.errors.DivisionByZero):
        await migrate(empty_database_url, migrations)
    broken.write_text("CREATE TABLE public.other (id int)")
    assert await migrate(empty_database_url, migrations) == ["0002_other"]


async def test_the_schema_of_the_project_is_up_to_date(database_url: str) -> None:
    assert await migrate(database_url) == []


async def test_files_installed_by_an_upgrade_are_not_missing_for_a_running_process(
    database_url: str, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    conn = await open_connection(database_url)
    try:
        assert await missing_migrations(conn) == []
        later_migrations(tmp_path / "migrations", "SELECT 1")
        monkeypatch.setattr(migration_files, "sql_dir", lambda: tmp_path)
        assert await missing_migrations(conn) == []
    finally:
        await conn.close()


async def test_an_interrupted_build_is_dropped_and_repeated(
    empty_database_url: str, migrations: Path
) -> None:
    await migrate(empty_database_url, migrations)
    (migrations / "0003_index.sql").write_text(INDEX)
    async with connected(empty_database_url) as conn, connected(empty_database_url) as looker:
        async with conn.transaction():  # a writer that blocks the build until its end
            await conn.execute("INSERT INTO public.thing VALUES (1)")
            running = asyncio.create_task(migrate(empty_database_url, migrations))
            await until(lambda: waits(looker, "CREATE INDEX CONCURRENTLY"))
            await looker.execute(
                "SELECT pg_terminate_backend(pid) FROM pg_stat_activity "
                "WHERE datname = current_database() AND query LIKE '%CREATE INDEX CONCURRENTLY%' "
                "AND pid <> pg_backend_pid()"
            )
            with pytest.raises(psycopg.OperationalError):
                await running
        assert await is_valid(looker) is False
        assert await migrate(empty_database_url, migrations) == ["0003_index"]
        assert await is_valid(looker) is True


async def test_a_concurrent_build_left_by_a_killed_run_does_not_prevent_the_next(
    empty_database_url: str, migrations: Path
) -> None:
    """The server continues a statement until it detects the disconnect of its client."""
    await migrate(empty_database_url, migrations)
    (migrations / "0003_index.sql").write_text(INDEX)
    async with connected(empty_database_url) as conn, connected(empty_database_url) as looker:
        async with connected(empty_database_url) as left, conn.transaction():
            await conn.execute("INSERT INTO public.thing VALUES (1)")
            building = asyncio.create_task(left.execute(INDEX.encode()))
            await until(lambda: waits(looker, "CREATE INDEX CONCURRENTLY"))
            running = asyncio.create_task(migrate(empty_database_url, migrations))
            await until(lambda: waits(looker, "DROP INDEX CONCURRENTLY"))
            await conn.execute("COMMIT; BEGIN")
            await asyncio.gather(building, return_exceptions=True)
            assert await running == ["0003_index"]
        assert await is_valid(looker) is True


async def test_a_step_without_a_record_is_repeated(
    empty_database_url: str, migrations: Path
) -> None:
    """As after a crash between the end of the statement and its record."""
    await migrate(empty_database_url, migrations)
    (migrations / "0003_index.sql").write_text(INDEX)
    async with connected(empty_database_url) as conn:
        await conn.execute(INDEX.encode())
        assert await migrate(empty_database_url, migrations) == ["0003_index"]
        assert await is_valid(conn) is True


async def test_batches_may_commit_outside_a_transaction(
    empty_database_url: str, migrations: Path
) -> None:
    (migrations / "0003_batches.sql").write_text(
        "-- knockon: outside transaction\nDO $$ BEGIN FOR i IN 1..3 LOOP "
        "INSERT INTO public.thing VALUES (i); COMMIT; END LOOP; END $$;"
    )
    await migrate(empty_database_url, migrations)
    async with connected(empty_database_url) as conn:
        assert await value(conn, "SELECT count(DISTINCT xmin::text) FROM public.thing") == 3


async def test_several_statements_outside_a_transaction_are_rejected(
    empty_database_url: str, migrations: Path
) -> None:
    (migrations / "0003_two.sql").write_text(f"{INDEX}; SELECT 1")
    with pytest.raises(InvalidInput, match="move each into a file of its own"):
        await migrate(empty_database_url, migrations)
    async with connected(empty_database_url) as conn:
        assert await is_valid(conn) is None


async def test_readers_do_not_queue_behind_a_waiting_migration(
    empty_database_url: str, migrations: Path
) -> None:
    await migrate(empty_database_url, migrations)
    (migrations / "0003_column.sql").write_text("ALTER TABLE public.thing ADD COLUMN n int")
    async with connected(empty_database_url) as conn, connected(empty_database_url) as looker:
        async with conn.transaction():
            await conn.execute("SELECT FROM public.thing")
            running = asyncio.create_task(migrate(empty_database_url, migrations))
            await until(lambda: waits(looker, "ALTER TABLE public.thing"))
            async with asyncio.timeout(60):  # while `conn` blocks the migration without a limit
                await looker.execute("SELECT FROM public.thing")
            await until(lambda: waits(looker, "ALTER TABLE public.thing"))
            assert not running.done()
        assert await running == ["0003_column"]


async def test_a_lock_that_is_never_free_is_reported_with_its_holder(
    empty_database_url: str, migrations: Path
) -> None:
    await migrate(empty_database_url, migrations)
    (migrations / "0003_column.sql").write_text(
        "CREATE TABLE public.third (); ALTER TABLE knockon.migrations ADD COLUMN n int"
    )
    async with connected(empty_database_url) as conn:
        async with conn.transaction():
            await conn.execute("SELECT FROM knockon.migrations")
            pid = conn.info.backend_pid
            with pytest.raises(SchemaInUse, match=rf"pid {pid} .* on migrations"):
                await migrate(empty_database_url, migrations, patience=0)
        assert await value(conn, "SELECT to_regclass('public.third')") is None
    assert await migrate(empty_database_url, migrations) == ["0003_column"]


@pytest.mark.parametrize("applied", [0, 2, 3])
async def test_a_preview_changes_nothing(
    empty_database_url: str,
    migrations: Path,
    tmp_path_factory: pytest.TempPathFactory,
    applied: int,
) -> None:
    (migrations / "0003_index.sql").write_text(INDEX)
    files = read_migrations(migrations)
    if applied:
        before = tmp_path_factory.mktemp("before")
        for file in files[:applied]:
            (before / f"{file}.sql").write_text(file.sql)
        await migrate(empty_database_url, before)
    with psycopg.connect(empty_database_url, autocommit=True) as conn:
        state = catalog(conn)
        assert await pending_migrations(empty_database_url, migrations) == files[applied:]
        assert catalog(conn) == state
