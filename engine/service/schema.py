"""Whether a database has the schema that this version of Knockon expects."""

import psycopg

from engine.store.database import Connection
from engine.store.migrate import read_migrations
from engine.store.queries import sql_dir
from engine.store.run import fetch


async def lacking_migrations(conn: Connection) -> list[str]:
    """Names of the migrations that have not been applied, in order; all where there is none."""
    try:
        rows = await fetch(conn, "views.migrations")
    except psycopg.errors.UndefinedTable:
        rows = []
    applied = {row["version"] for row in rows}
    known = read_migrations(sql_dir() / "migrations")
    return [str(each) for each in known if each.version not in applied]
