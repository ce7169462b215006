"""Execution of named statements: `await fetch(conn, "tasks.candidates", org_id=…)`."""

from typing import Any

from psycopg import AsyncCursor, DataError
from psycopg.rows import DictRow

from engine.store.database import Connection
from engine.store.queries import query
from engine.store.text import storable_value

Row = dict[str, Any]


async def fetch(conn: Connection, name: str, **params: Any) -> list[Row]:
    """Run a statement and return all its rows, as dicts. Raises psycopg's errors."""
    cursor = await _run(conn, name, params)
    return await cursor.fetchall()


async def fetch_one(conn: Connection, name: str, **params: Any) -> Row | None:
    """Run a statement and return its first row, or None."""
    cursor = await _run(conn, name, params)
    return await cursor.fetchone()


async def execute(conn: Connection, name: str, **params: Any) -> int:
    """Run a statement and return the number of rows written."""
    cursor = await _run(conn, name, params)
    return cursor.rowcount


async def _run(conn: Connection, name: str, params: dict[str, Any]) -> AsyncCursor[DictRow]:
    statement = query(name).encode()
    try:
        return await conn.execute(statement, params)
    except (DataError, UnicodeEncodeError) as error:
        if isinstance(error, DataError) and error.sqlstate is not None:
            raise  # rejected by the server
        # The driver rejected a text before sending anything, so the transaction is still intact.
        return await conn.execute(statement, storable_value(params))
