"""Upgrade of a database whose tables are still in the schema `public`."""

import psycopg
import structlog

from engine.errors import InvalidInput
from engine.store.database import Connection
from engine.store.migration_files import Migration
from engine.store.migration_steps import limit_lock_waits, run_sql
from engine.store.queries import sql_dir
from engine.store.rows.migrations import ForeignRelation
from engine.store.run import fetch_one

_log = structlog.get_logger(__name__)


async def move_from_public(conn: Connection, schema: Migration) -> None:
    """Create the tables of ``schema``, and copy the rows of the tables in `public`.

    Raises InvalidInput if a table belongs to another role.
    """
    async with conn.transaction():
        await limit_lock_waits(conn)
        await _set_aside(conn)
        await run_sql(conn, schema)
        await conn.execute(_upgrade_step("take_over"))
    _log.info("tables moved from public to the schema knockon")


async def _set_aside(conn: Connection) -> None:
    """Move the tables to a schema where no other role can replace them, then check their owners."""
    try:
        await conn.execute(_upgrade_step("set_aside"))
    except psycopg.errors.InsufficientPrivilege as error:
        raise InvalidInput(
            f"the tables of an earlier version in the schema public cannot be taken over "
            f"({error.diag.message_primary}): migrate as the role that owns all of them, or drop "
            "or rename what is not Knockon's"
        ) from error
    row = await fetch_one(conn, "migrations.foreign_relations", ForeignRelation)
    if row is not None:
        raise InvalidInput(
            f"public.{row.name} is named like a table of an earlier version of Knockon, but "
            f"belongs to role {row.owner}, whose code would run: migrate as that role if it is "
            "Knockon's, or drop or rename public.knockon_migrations and the tables beside it"
        )


def _upgrade_step(name: str) -> bytes:
    return (sql_dir() / "upgrades" / f"{name}.sql").read_bytes()
