"""Migration of a database's schema: `sql/migrations/NNNN_name.sql`, in order, each once.

All of Knockon's objects are in the schema `knockon`. For a database with its tables still in
`public`, `sql/upgrades` copies the rows into the current tables.
"""

import asyncio
from collections.abc import AsyncIterator, Awaitable, Callable, Sequence
from contextlib import asynccontextmanager, suppress
from functools import partial
from pathlib import Path
from time import monotonic

import psycopg
import structlog

from engine.errors import InvalidInput, SchemaInUse
from engine.store.compatibility import CHANNEL, older_processes, require_supported_code
from engine.store.database import Connection, open_connection, wait_for_database
from engine.store.from_public import move_from_public
from engine.store.migration_files import Migration, migrations_dir, read_migrations
from engine.store.migration_steps import apply_step, with_lock_retries
from engine.store.roles import create_roles
from engine.store.rows.migrations import (
    ForeignOwner,
    LockAttempt,
    MigrationTables,
    RecordedMigration,
)
from engine.store.run import execute, fetch, fetch_one

PATIENCE_SECONDS = 300.0
"""Time to wait for locks, and for processes with older code to stop."""
CONNECT_SECONDS = 60.0
"""Time to wait for an unavailable database."""

_log = structlog.get_logger(__name__)
_POLL_SECONDS = 0.2
_READ_ONLY = "SET TRANSACTION READ ONLY"
_TABLE = """
CREATE SCHEMA IF NOT EXISTS knockon;
CREATE TABLE IF NOT EXISTS knockon.migrations (
    version     int PRIMARY KEY,
    name        text NOT NULL,
    checksum    text NOT NULL,
    -- Code with a lower number must not run.
    oldest_code int,
    -- Null while a migration that requires newer code is announced.
    applied_at  timestamptz
)"""
_SESSION = {
    # A build of an index lasts longer than the statements of other sessions.
    "statement_timeout": "0",
    # A statement that policies would restrict is refused.
    "row_security": "off",
    # The server cancels the statement of a client that was killed.
    "client_connection_check_interval": "10s",
}
_CheckLock = Callable[[], Awaitable[bool]]
"""Raises psycopg's errors if the connection with the lock of migrations was lost."""


async def migrate(
    url: str,
    directory: Path | None = None,
    *,
    grants_named_tables: bool = False,
    patience: float = PATIENCE_SECONDS,
) -> list[str]:
    """Apply pending migrations, create roles, and return the names, such as `0001_schema`.

    ``grants_named_tables``: grant the SQL jobs of the default org access to the tables named in its
    DAG files, unless the org has a setting of its own. ``patience`` limits, in seconds, how long a
    migration waits for locks, and for processes with older code to stop.

    Concurrent callers take turns. Raises InvalidInput if a file was changed after it was applied,
    OutdatedCode if the database requires newer code, SchemaInUse if the patience is exhausted, and
    ServiceUnavailable if the database is unavailable.
    """
    migrations = read_migrations(directory or migrations_dir())
    applied: list[str] = []
    async with _session(url) as conn:
        if await _pending(conn, migrations):
            async with _exclusive(url) as check_lock:
                applied = await _apply_pending(conn, migrations, check_lock, patience)
    if directory is None:
        await _create_roles(url, patience, grants_named_tables=grants_named_tables)
    return applied


async def pending_migrations(url: str, directory: Path | None = None) -> list[Migration]:
    """Return the migrations that `migrate` would apply; changes nothing, and raises as it does."""
    migrations = read_migrations(directory or migrations_dir())
    async with _session(url) as conn, conn.transaction():
        await conn.execute(_READ_ONLY)
        return await _pending(conn, migrations)


@asynccontextmanager
async def _session(url: str) -> AsyncIterator[Connection]:
    await wait_for_database(url, CONNECT_SECONDS)
    conn = await open_connection(url)
    conn.prepare_threshold = None  # a pooler in transaction mode may change the session
    try:
        for name, value in _SESSION.items():
            await execute(conn, "migrations.set_session", setting=name, value=value)
        yield conn
    finally:
        await conn.close()


async def _pending(conn: Connection, migrations: Sequence[Migration]) -> list[Migration]:
    await _check_schema_owner(conn)
    tables = await _tables(conn)
    rows = await fetch(conn, "migrations.recorded", RecordedMigration) if tables.in_schema else []
    applied = {row.version: row.checksum for row in rows if row.is_applied}
    for migration in migrations:
        if applied.get(migration.version, migration.checksum) != migration.checksum:
            raise InvalidInput(
                f"migration {migration} was changed after it was applied to this database: "
                "restore the file, and put the change into a new migration"
            )
    if rows:
        await require_supported_code(conn, migrations[-1].version)
    return [migration for migration in migrations if migration.version not in applied]


async def _check_schema_owner(conn: Connection) -> None:
    """Raise InvalidInput if another role owns the schema."""
    row = await fetch_one(conn, "migrations.foreign_owner", ForeignOwner)
    if row is not None:
        raise InvalidInput(
            f"the schema knockon belongs to role {row.owner}: migrate as that role, or drop the "
            "schema or give it to the user of this connection if it is not Knockon's"
        )


async def _tables(conn: Connection) -> MigrationTables:
    (row,) = await fetch(conn, "migrations.tables", MigrationTables)
    return row


async def _apply_pending(
    conn: Connection, migrations: Sequence[Migration], check_lock: _CheckLock, patience: float
) -> list[str]:
    pending = await _pending(conn, migrations)
    if not pending:
        return []
    tables = await _tables(conn)
    is_in_public = tables.in_public and len(pending) == len(migrations)
    await conn.execute(_TABLE)
    for migration in pending:
        await check_lock()
        if is_in_public and migration is pending[0]:
            move = partial(move_from_public, conn, migration)
            await with_lock_retries(conn, str(migration), move, patience)
        else:
            await _apply(conn, migration, patience)
    return [str(migration) for migration in pending]


@asynccontextmanager
async def _exclusive(url: str) -> AsyncIterator[_CheckLock]:
    """Wait until no other caller migrates, and keep others waiting.

    The lock belongs to a transaction, so that a pooler in transaction mode cannot leave it to
    another client. It is polled for, because a blocked request has a snapshot, for whose end a
    concurrent build of an index waits; the transaction that has the lock is idle and without a
    snapshot.
    """
    conn = await open_connection(url)
    conn.prepare_threshold = None

    async def is_locked() -> bool:
        (row,) = await fetch(conn, "migrations.try_lock", LockAttempt)
        return row.is_locked

    is_reported = False
    try:
        while True:
            async with conn.transaction():
                timeout = "idle_in_transaction_session_timeout"
                await execute(conn, "migrations.set_local", setting=timeout, value="0")
                if await is_locked():
                    yield is_locked
                    return
            if not is_reported:
                is_reported = True
                _log.info("waiting for another 'knockon migrate'")
            await asyncio.sleep(_POLL_SECONDS)
    finally:
        await conn.close()


async def _apply(conn: Connection, migration: Migration, patience: float) -> None:
    """Apply a migration, after processes with code that must not run beside it have stopped.

    After a failure such processes may start again, except outside a transaction, where part of the
    migration may have been applied.
    """
    if migration.oldest_code is None:
        await apply_step(conn, migration, patience)
        return
    try:
        await _announce(conn, migration)
        await _wait_for_older_processes(conn, migration, migration.oldest_code, patience)
        await apply_step(conn, migration, patience)
    except BaseException:
        if migration.in_transaction:
            with suppress(psycopg.Error):  # the error that is raised matters more
                await execute(conn, "migrations.withdraw", version=migration.version)
        raise


async def _announce(conn: Connection, migration: Migration) -> None:
    await execute(conn, "migrations.announce", **migration.entry)
    await execute(conn, "migrations.notify", channel=CHANNEL)


async def _wait_for_older_processes(
    conn: Connection, migration: Migration, oldest_code: int, patience: float
) -> None:
    deadline = monotonic() + patience
    reported: list[str] = []
    while older := await older_processes(conn, oldest_code):
        if older != reported:
            reported = older
            _log.info(
                "waiting for processes with older code to stop",
                migration=str(migration),
                processes=older,
            )
        if monotonic() > deadline:
            raise SchemaInUse(
                f"migration {migration} requires code {oldest_code:04} or newer, but processes "
                f"with older code have not stopped within {patience:.0f} seconds: stop them "
                f"({', '.join(older)}), and run 'knockon migrate' again"
            )
        await asyncio.sleep(_POLL_SECONDS)


async def _create_roles(url: str, patience: float, *, grants_named_tables: bool) -> None:
    conn = await open_connection(url)
    try:
        await with_lock_retries(conn, "of the roles", partial(create_roles, conn), patience)
        if grants_named_tables:
            await execute(conn, "orgs.grant_named_tables")
    finally:
        await conn.close()
