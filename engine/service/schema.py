"""Check that a database has the current schema."""

import psycopg

from engine.store.database import Connection
from engine.store.migrate import read_migrations
from engine.store.queries import sql_dir
from engine.store.run import fetch


async def lacking_migrations(conn: Connection) -> list[str]:
    """Return the names of unapplied migrations, in order."""
    try:
        rows = await fetch(conn, "views.migrations")
    except psycopg.errors.UndefinedTable:
        rows = []
    applied = {row["version"] for row in rows}
    migrations = read_migrations(sql_dir() / "migrations")
    return [str(migration) for migration in migrations if migration.version not in applied]
