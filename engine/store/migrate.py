"""Migration of a database's schema: `sql/migrations/NNNN_name.sql`, in order, each once.

All of Knockon's objects are in the schema `knockon`. For a database with its tables still in
`public`, `sql/upgrades` copies the rows into the current tables.
"""

import hashlib
import re
from dataclasses import dataclass
from pathlib import Path

import psycopg
import structlog
from psycopg import AsyncConnection
from psycopg.rows import TupleRow

from engine.errors import InvalidInput
from engine.store.database import open_connection, wait_for_database
from engine.store.queries import sql_dir
from engine.store.roles import create_roles
from engine.store.run import execute

_log = structlog.get_logger(__name__)

_FILE_NAME = re.compile(r"(\d{4})_(\w+)\.sql")
_PATIENCE_SECONDS = 60.0
_LOCK = 0x6B6E6F636B6F6E  # "knockon"; any number that no other program locks
_TABLE = """
CREATE SCHEMA IF NOT EXISTS knockon;
CREATE TABLE IF NOT EXISTS knockon.migrations (
    version    int PRIMARY KEY,
    name       text NOT NULL,
    checksum   text NOT NULL,
    applied_at timestamptz NOT NULL DEFAULT pg_catalog.now()
)"""
# Another role that created the schema beforehand would keep control of all objects in it.
_STRANGER = """
SELECT pg_catalog.pg_get_userbyid(nspowner) FROM pg_catalog.pg_namespace
WHERE nspname = 'knockon' AND pg_catalog.pg_get_userbyid(nspowner) <> current_user
    AND NOT (SELECT rolsuper FROM pg_catalog.pg_roles WHERE oid = nspowner)
    AND NOT (pg_catalog.starts_with(pg_catalog.pg_get_userbyid(nspowner), 'knockon_owner_')
        AND (SELECT NOT rolcanlogin FROM pg_catalog.pg_roles WHERE oid = nspowner))"""
_IS_IN_PUBLIC = "SELECT pg_catalog.to_regclass('public.knockon_migrations') IS NOT NULL"
# Reading a relation runs code of its owner (casts, views, policies, index expressions) with the
# privileges of the reader. Another role is not trusted even if it owns the database.
_UNTRUSTED = """
SELECT c.relname, pg_catalog.quote_ident(r.rolname)
FROM pg_catalog.pg_class c
JOIN pg_catalog.pg_namespace n ON n.oid = c.relnamespace AND n.nspname = 'knockon_before'
JOIN pg_catalog.pg_roles r ON r.oid = c.relowner
WHERE NOT r.rolsuper AND r.rolname <> current_user
ORDER BY c.relkind NOT IN ('r', 'v', 'S'), c.relname"""


@dataclass(frozen=True)
class Migration:
    """A migration file; `checksum` is the SHA-256 of its text."""

    version: int
    name: str
    sql: str

    @property
    def checksum(self) -> str:
        """Hex digest, compared to detect changes of the file after it was applied."""
        return hashlib.sha256(self.sql.encode()).hexdigest()

    def __str__(self) -> str:
        return f"{self.version:04}_{self.name}"


async def migrate(
    url: str, directory: Path | None = None, *, grants_named_tables: bool = False
) -> list[str]:
    """Apply pending migrations, create roles, and return the names, such as `0001_schema`.

    ``grants_named_tables``: grant the SQL jobs of the default org access to the tables named in its
    DAG files, unless the org has a setting of its own.

    Each file is one transaction, and concurrent callers are serialized. Raises InvalidInput if a
    file was changed after it was applied, and ServiceUnavailable if the database is unavailable.
    """
    migrations = read_migrations(directory or sql_dir() / "migrations")
    await wait_for_database(url, _PATIENCE_SECONDS)
    async with await AsyncConnection.connect(url, autocommit=True) as connection:
        await connection.execute("SET client_min_messages TO warning")
        await connection.execute("SELECT pg_advisory_lock(%s)", [_LOCK])  # until the session ends
        await _check_schema_owner(connection)
        await connection.execute(_TABLE)
        applied = await _applied(connection)
        done = await _upgrade(connection, migrations[:1]) if not applied else []
        applied.update({each.version: each.checksum for each in done})
        names = [
            str(each)
            for each in migrations
            if each in done or await _apply(connection, each, applied)
        ]
        if directory is None:
            await _create_roles(url, grants_named_tables=grants_named_tables)
        return names


def read_migrations(directory: Path) -> list[Migration]:
    """Read a directory's migrations in order. Raises InvalidInput for a bad or repeated number."""
    migrations = [_read(path) for path in sorted(directory.glob("*.sql"))]
    if len({each.version for each in migrations}) < len(migrations):
        raise InvalidInput(f"two migrations in {directory} have one number: renumber the newer")
    return migrations


def _read(path: Path) -> Migration:
    match = _FILE_NAME.fullmatch(path.name)
    if match is None:
        raise InvalidInput(f"{path} is no migration's name: call it like 0001_schema.sql")
    return Migration(int(match[1]), match[2], path.read_text(encoding="utf-8"))


async def _applied(connection: AsyncConnection[TupleRow]) -> dict[int, str]:
    rows = await connection.execute("SELECT version, checksum FROM knockon.migrations")
    return dict(await rows.fetchall())


async def _apply(
    connection: AsyncConnection[TupleRow], migration: Migration, applied: dict[int, str]
) -> bool:
    known = applied.get(migration.version)
    if known is None:
        await _run(connection, migration)
    elif known != migration.checksum:
        raise InvalidInput(
            f"migration {migration} was changed after it was applied to this database: "
            "restore the file, and put the change into a new migration"
        )
    return known is None


async def _check_schema_owner(connection: AsyncConnection[TupleRow]) -> None:
    """Raise InvalidInput if another role owns the schema."""
    row = await (await connection.execute(_STRANGER)).fetchone()
    if row is not None:
        raise InvalidInput(
            f"the schema knockon belongs to role {row[0]}: migrate as that role, or drop the "
            "schema or give it to the user of this connection if it is not Knockon's"
        )


async def _upgrade(
    connection: AsyncConnection[TupleRow], schema: list[Migration]
) -> list[Migration]:
    """Upgrade a database with its tables in `public`; do nothing if there are none.

    Returns the migrations applied. Raises InvalidInput if a table belongs to another role.
    """
    row = await (await connection.execute(_IS_IN_PUBLIC)).fetchone()
    if row is None or not row[0]:
        return []
    async with connection.transaction():
        await _set_aside(connection)
        for migration in schema:
            await _run(connection, migration)
        await connection.execute(_upgrade_step("take_over"))
    _log.info("tables moved from public to the schema knockon")
    return schema


async def _set_aside(connection: AsyncConnection[TupleRow]) -> None:
    """Move the tables to a schema where no other role can replace them, then check their owners."""
    try:
        await connection.execute(_upgrade_step("set_aside"))
    except psycopg.errors.InsufficientPrivilege as error:
        raise InvalidInput(
            f"the tables of an earlier version in the schema public cannot be taken over "
            f"({error.diag.message_primary}): migrate as the role that owns all of them, or drop "
            "or rename what is not Knockon's"
        ) from error
    row = await (await connection.execute(_UNTRUSTED)).fetchone()
    if row is not None:
        raise InvalidInput(
            f"public.{row[0]} is named like a table of an earlier version of Knockon, but belongs "
            f"to role {row[1]}, whose code would run: migrate as that role if it is Knockon's, or "
            "drop or rename public.knockon_migrations and the tables beside it"
        )


async def _create_roles(url: str, *, grants_named_tables: bool) -> None:
    connection = await open_connection(url)
    try:
        await create_roles(connection)
        if grants_named_tables:
            await execute(connection, "orgs.grant_named_tables")
    finally:
        await connection.close()


def _upgrade_step(name: str) -> bytes:
    return (sql_dir() / "upgrades" / f"{name}.sql").read_bytes()


async def _run(connection: AsyncConnection[TupleRow], migration: Migration) -> None:
    async with connection.transaction():
        await connection.execute(migration.sql)
        await connection.execute(
            "INSERT INTO knockon.migrations (version, name, checksum) VALUES (%s, %s, %s)",
            [migration.version, migration.name, migration.checksum],
        )
    _log.info("migration applied", migration=str(migration))
