"""Settings of sessions: UTC, fixed formats, and a search path with built-in objects only.

Texts of values are keys, so they must equal the texts written by capture triggers, whatever the
defaults of the database or the role. An address may set another search path (in `options`).
"""

from collections.abc import Mapping
from types import MappingProxyType

import psycopg
import structlog
from psycopg import AsyncConnection, sql
from psycopg.rows import DictRow
from psycopg.types.json import Jsonb

_log = structlog.get_logger(__name__)

_SETTINGS: Mapping[str, str] = MappingProxyType(
    {
        "TimeZone": "UTC",
        "DateStyle": "ISO",
        "IntervalStyle": "postgres",
        "bytea_output": "hex",
        "extra_float_digits": "1",
        # Releases the locks of a process frozen in the middle of a transaction. Pipelines, also
        # those of executemany, disable it: the driver sends a flush after the end of a pipeline,
        # and the server does not count a session as idle while it reads further messages.
        "idle_in_transaction_session_timeout": "1min",
        # All statements qualify their tables. The path prevents functions, operators and types
        # created by other users, in `public` or as temporary objects, from shadowing built-in ones.
        "search_path": "pg_catalog, pg_temp",
    }
)
# Neither rollback nor commit removes session state left by foreign statements. RESET comes first,
# so that no name is resolved with a foreign search path.
_CLEAN = sql.SQL("""RESET ALL;
{settings};
CLOSE ALL;
UNLISTEN *;
DISCARD TEMP;
SELECT pg_catalog.pg_advisory_unlock_all(),
    EXISTS (SELECT FROM pg_catalog.pg_prepared_statements WHERE from_sql) AS prepared""")
COUNT_PREPARED = sql.SQL(
    "SELECT pg_catalog.count(*) AS number FROM pg_catalog.pg_prepared_statements WHERE NOT from_sql"
)
"""Counts the statements prepared by the driver, as opposed to SQL PREPARE."""


def apply_settings(connection: AsyncConnection[DictRow]) -> sql.Composed:
    """Return the statement that applies the settings to a session."""
    has_path = "search_path" in connection.info.get_parameters().get("options", "")
    calls = [
        sql.SQL("pg_catalog.set_config({}, {}, false)").format(name, value)
        for name, value in _SETTINGS.items()
        if not (has_path and name == "search_path")
    ]
    return sql.SQL("SELECT {}").format(sql.SQL(", ").join(calls))


def clean_session(connection: AsyncConnection[DictRow]) -> sql.Composed:
    """Return the statements that restore the session settings and remove all other session state.

    The last statement returns ``prepared``: true if prepared statements are left, which only
    closing the connection removes.
    """
    return _CLEAN.format(settings=apply_settings(connection))


async def count_prepared(connection: AsyncConnection[DictRow]) -> int:
    """Return the number of statements prepared by the driver."""
    cursor = await connection.execute(COUNT_PREPARED, prepare=False)
    (row,) = await cursor.fetchall()
    return int(row["number"])


async def clean_or_close(connection: AsyncConnection[DictRow], prepared: int) -> None:
    """Clean a session after a commit; a failure closes the connection and is not raised."""
    is_clean = False
    try:
        cursor = await connection.execute(clean_session(connection), prepare=False)
        rows = [await part.fetchall() async for part in cursor.results() if part.description]
        is_clean = not rows[-1][0]["prepared"] and await count_prepared(connection) == prepared
    except psycopg.Error as error:
        _log.warning("a session was closed, since it could not be cleaned", why=str(error))
    finally:
        if not is_clean:
            await connection.close()


async def other_settings(connection: AsyncConnection[DictRow]) -> list[str]:
    """Return the names of settings with other values in a session behind a pooler."""
    cursor = await connection.execute(
        "SELECT pg_catalog.current_setting(name) AS value, name, wanted "
        "FROM pg_catalog.jsonb_each_text(%s::pg_catalog.jsonb) AS settings(name, wanted)",
        [Jsonb(dict(_SETTINGS))],
    )
    rows = await cursor.fetchall()
    return [row["name"] for row in rows if not row["value"].startswith(row["wanted"])]


async def role_statements(
    connection: AsyncConnection[DictRow], role: str | None = None
) -> list[str]:
    """Return the statements that give all sessions of a role, by default this one, the settings."""
    cursor = await connection.execute(
        "SELECT current_user AS role, pg_catalog.current_database() AS database"
    )
    (row,) = await cursor.fetchall()
    of_role = sql.SQL("ALTER ROLE {} IN DATABASE {} SET").format(
        sql.Identifier(role or row["role"]), sql.Identifier(row["database"])
    )
    return [
        sql.SQL("{} {} TO {}")
        .format(of_role, sql.Identifier(name), sql.SQL(", ").join(value.split(", ")))
        .as_string(connection)
        for name, value in _SETTINGS.items()
    ]
