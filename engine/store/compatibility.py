"""Compatibility between the code of a process and the schema of its database.

Newer code needs every migration that it ships. Older code runs beside newer migrations unless one
of them requires newer code: see `Migration.oldest_code`.
"""

import psycopg

from engine.errors import OutdatedCode
from engine.store.database import Connection
from engine.store.migration_files import code_number, shipped_migrations
from engine.store.rows.migrations import CodeRequirement, OlderProcess, RecordedMigration
from engine.store.run import execute, fetch, fetch_one

CHANNEL = "knockon_migrations"
"""Notified when a migration requires newer code."""
_KEY = 0x6B6E6F63  # "knoc"; any number that no other program locks


async def missing_migrations(conn: Connection) -> list[str]:
    """Return the names of the migrations that have not been applied, in order."""
    try:
        rows = await fetch(conn, "migrations.recorded", RecordedMigration)
    except psycopg.errors.UndefinedTable:
        rows = []
    applied = {row.version for row in rows if row.is_applied}
    return [
        str(migration) for migration in shipped_migrations() if migration.version not in applied
    ]


async def require_supported_code(conn: Connection, code: int | None = None) -> None:
    """Raise OutdatedCode if a migration, applied or announced, requires newer code.

    ``code`` is the number of the code; default: the number of this process's code.
    """
    number = code_number() if code is None else code
    try:
        row = await fetch_one(conn, "migrations.newest_requirement", CodeRequirement, code=number)
    except psycopg.errors.UndefinedTable:
        return
    if row is not None:
        raise OutdatedCode(
            f"this version of Knockon (schema {number:04}) is too old for the database: migration "
            f"{row.migration} requires schema {row.oldest_code:04} or newer; install a newer "
            "version"
        )


async def register_code(conn: Connection) -> None:
    """Show migrations that this process's code is running, for as long as the session lasts."""
    await execute(conn, "migrations.register", key=_KEY, code=code_number())


async def older_processes(conn: Connection, oldest_code: int) -> list[str]:
    """Return the registered sessions with code older than a number, as ``pid 12 on 10.0.0.1``."""
    rows = await fetch(
        conn, "migrations.older_processes", OlderProcess, key=_KEY, oldest_code=oldest_code
    )
    return [f"pid {row.pid} on {row.host}" for row in rows]
