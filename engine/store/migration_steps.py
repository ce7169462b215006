"""Application of one migration, in a transaction or outside of one.

A lock that is not available soon is given up and requested again later, because all statements on
the table queue behind the waiting one.
"""

from collections.abc import Awaitable, Callable

import psycopg
import structlog
from psycopg import sql

from engine.errors import InvalidInput, SchemaInUse
from engine.retries import retrying
from engine.store.database import Connection
from engine.store.migration_files import ConcurrentIndex, Migration
from engine.store.rows.migrations import InvalidIndex, LockHolder
from engine.store.run import execute, fetch, fetch_one

_log = structlog.get_logger(__name__)
_LOCK_SECONDS = 2.0
_LONGEST_PAUSE_SECONDS = 10.0
_BLOCKED = (psycopg.errors.LockNotAvailable, psycopg.errors.DeadlockDetected)


async def apply_step(conn: Connection, migration: Migration, patience: float) -> None:
    """Apply a migration and record it.

    Raises SchemaInUse if its locks are not available within ``patience`` seconds.
    """
    step = _apply_in_transaction if migration.in_transaction else _apply_outside
    await with_lock_retries(conn, str(migration), lambda: step(conn, migration), patience)
    _log.info("migration applied", migration=str(migration))


async def with_lock_retries(
    conn: Connection, what: str, step: Callable[[], Awaitable[None]], patience: float
) -> None:
    """Run a step that sets `limit_lock_waits`, again and again until its locks are available."""
    attempts = retrying(_is_blocked, seconds=patience, longest_wait=_LONGEST_PAUSE_SECONDS)
    try:
        async for attempt in attempts:
            with attempt:
                try:
                    await step()
                except psycopg.Error as error:
                    if _is_blocked(error):
                        holders = await _lock_holders(conn)
                        _log.warning(
                            "locks are not available, retrying", migration=what, held_by=holders
                        )
                    raise
    except _BLOCKED as error:
        holders = await _lock_holders(conn)
        raise SchemaInUse(
            f"migration {what} could not lock its tables within {patience:.0f} seconds: end the "
            f"old transactions ({'; '.join(holders) or 'see pg_locks'}), and run 'knockon migrate' "
            "again"
        ) from error


async def limit_lock_waits(conn: Connection) -> None:
    """Limit the time that statements of the transaction wait for a lock."""
    await execute(conn, "migrations.set_local", setting="lock_timeout", value=f"{_LOCK_SECONDS}s")


async def run_sql(conn: Connection, migration: Migration) -> None:
    """Run a migration in the current transaction, and record it."""
    await conn.execute(migration.sql.encode())
    await execute(conn, "migrations.record", **migration.entry)


async def _apply_in_transaction(conn: Connection, migration: Migration) -> None:
    async with conn.transaction():
        await limit_lock_waits(conn)
        await execute(conn, "migrations.act_as_owner")
        await run_sql(conn, migration)


async def _apply_outside(conn: Connection, migration: Migration) -> None:
    """Run the statement, which can be repeated if a crash prevents the record."""
    limit = "0" if migration.is_concurrent else f"{_LOCK_SECONDS}s"
    await execute(conn, "migrations.set_session", setting="lock_timeout", value=limit)
    if migration.index is not None:
        await _drop_invalid(conn, migration.index)
    try:
        # The extended protocol, selected by binary results, refuses several statements; the simple
        # protocol would run them in one transaction.
        await conn.execute(migration.sql.encode(), binary=True)
    except psycopg.errors.SyntaxError as error:
        if "multiple commands" not in str(error):
            raise
        raise InvalidInput(
            f"migration {migration} has several statements, but runs outside a transaction: move "
            "each into a file of its own"
        ) from error
    await execute(conn, "migrations.record", **migration.entry)


async def _drop_invalid(conn: Connection, index: ConcurrentIndex) -> None:
    """Drop an index that an interrupted build left, which IF NOT EXISTS would take for complete.

    If another session is still building it, dropping waits for that.
    """
    names = {"index": index.name, "schema": index.schema, "table": index.table}
    if await fetch_one(conn, "migrations.invalid_index", InvalidIndex, **names) is not None:
        _log.warning("dropping the index left by an interrupted build", index=index.name)
        identifier = sql.Identifier(index.schema, index.name)
        await conn.execute(sql.SQL("DROP INDEX CONCURRENTLY IF EXISTS {}").format(identifier))


async def _lock_holders(conn: Connection) -> list[str]:
    rows = await fetch(conn, "migrations.lock_holders", LockHolder, seconds=_LOCK_SECONDS)
    return [
        f"pid {row.pid} ({row.application}) for {row.seconds:.0f} s on {', '.join(row.tables)}"
        for row in rows
    ]


def _is_blocked(error: BaseException) -> bool:
    return isinstance(error, _BLOCKED)
