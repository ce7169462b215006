"""Directories of migrations that follow the project's own, and observations of their effects."""

import asyncio
import shutil
from collections.abc import Awaitable, Callable, Sequence
from pathlib import Path

import psycopg

from engine.store.migration_files import TableLock, code_number, migrations_dir

LATEST = code_number()
"""Number of the project's newest migration, hence of the code under test."""

_NEVER_BLOCKING = ("AccessShareLock", "RowShareLock", "RowExclusiveLock")
_MODES = {
    "ShareUpdateExclusiveLock": "SHARE UPDATE EXCLUSIVE",
    "ShareLock": "SHARE",
    "ShareRowExclusiveLock": "SHARE ROW EXCLUSIVE",
    "ExclusiveLock": "EXCLUSIVE",
    "AccessExclusiveLock": "ACCESS EXCLUSIVE",
}


def later_migrations(directory: Path, *texts: str) -> Path:
    """Write the project's migrations, followed by ``texts`` with the next numbers."""
    directory.mkdir(exist_ok=True)
    for path in migrations_dir().glob("*.sql"):
        shutil.copy(path, directory)
    for number, text in enumerate(texts, start=LATEST + 1):
        (directory / f"{number:04}_later.sql").write_text(text)
    return directory


def observed_locks(conn: "psycopg.Connection[tuple[str, str]]", sql: str) -> set[TableLock]:
    """Run a migration, roll it back, and return its locks that block writers or other migrations.

    Locks on tables created by the migration do not count.
    """
    before = "SELECT oid FROM pg_catalog.pg_class WHERE relkind IN ('r', 'p')"
    with conn.transaction(force_rollback=True):
        conn.execute(f"CREATE TEMPORARY TABLE existing ON COMMIT DROP AS {before}".encode())
        conn.execute(sql.encode())
        rows = conn.execute(
            "SELECT c.relnamespace::pg_catalog.regnamespace || '.' || c.relname, l.mode "
            "FROM pg_catalog.pg_locks l JOIN pg_catalog.pg_class c ON c.oid = l.relation "
            "WHERE l.pid = pg_catalog.pg_backend_pid() AND l.locktype = 'relation' "
            "AND l.relation IN (SELECT oid FROM pg_temp.existing) AND NOT l.mode = ANY(%s)",
            [list(_NEVER_BLOCKING)],
        ).fetchall()
    return {TableLock(table, _MODES[mode]) for table, mode in rows}


async def until(condition: Callable[[], Awaitable[bool]]) -> None:
    """Poll a condition, because the database has no signal for changes of its rows."""
    async with asyncio.timeout(60):
        while not await condition():  # noqa: ASYNC110
            await asyncio.sleep(0.05)


def catalog(conn: "psycopg.Connection[tuple[str, ...]]") -> Sequence[object]:
    """Return all rows of the catalog, with their versions, and of Knockon's own tables.

    Statistics are excluded, because the server updates them in the background.
    """
    names = conn.execute(
        "SELECT c.oid::pg_catalog.regclass::text FROM pg_catalog.pg_class c "
        "JOIN pg_catalog.pg_namespace n ON n.oid = c.relnamespace WHERE c.relkind = 'r' "
        "AND (n.nspname = 'pg_catalog' OR n.nspname LIKE 'knockon%' OR n.nspname = 'public') "
        "AND c.relname NOT LIKE 'pg_statistic%' AND NOT c.relisshared ORDER BY 1"
    ).fetchall()
    volatile = "{relpages,reltuples,relallvisible,relallfrozen,relfrozenxid,relminmxid}"
    return [
        (
            name,
            conn.execute(
                f"SELECT t.ctid::text, t.xmin::text, (pg_catalog.to_jsonb(t) - %s::text[])::text "
                f"FROM {name} t ORDER BY t.ctid".encode(),
                [volatile],
            ).fetchall(),
        )
        for (name,) in names
    ]
