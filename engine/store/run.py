"""Execution of named statements: `await fetch(conn, "tasks.candidates", Candidate, org_id=…)`."""

from collections.abc import AsyncIterator
from typing import Any, TypeVar

import msgspec
from psycopg import AsyncClientCursor, AsyncCursor, DataError
from psycopg.rows import DictRow, args_row

from engine.store.database import Connection
from engine.store.queries import query
from engine.store.text import storable_value

S = TypeVar("S", bound=msgspec.Struct)
_PAGE = 200
"""Rows streamed at once: about as many as network buffers hold, so that the server can continue."""


async def fetch(conn: Connection, name: str, row: type[S], /, **params: Any) -> list[S]:
    """Run a statement and return all its rows. Raises psycopg's errors.

    ``row``: a struct, whose fields are the columns in order.
    """
    cursor = await _rows(conn, name, row, params)
    return await cursor.fetchall()


async def fetch_one(conn: Connection, name: str, row: type[S], /, **params: Any) -> S | None:
    """Run a statement and return its first row, or None; see `fetch`."""
    cursor = await _rows(conn, name, row, params)
    return await cursor.fetchone()


async def fetch_last(
    conn: Connection, name: str, row: type[S], /, first: str, **params: Any
) -> S | None:
    """Run ``first`` and a statement in one transaction and one round trip; see `fetch_one`.

    Texts in ``params`` must be storable. Must run outside a transaction.
    """
    cursor = AsyncClientCursor(conn, row_factory=args_row(row))
    await cursor.execute(f"{query(first)}; {query(name)}".encode(), params)
    while cursor.nextset():
        pass
    return await cursor.fetchone()


def stream(conn: Connection, name: str, row: type[S], /, **params: Any) -> AsyncIterator[S]:
    """Run a statement and yield its rows while the server continues to send; see `fetch`."""
    cursor = conn.cursor(binary=True, row_factory=args_row(row))
    return cursor.stream(query(name).encode(), params, size=_PAGE)


async def execute(conn: Connection, name: str, /, **params: Any) -> int:
    """Run a statement and return the number of rows written."""
    cursor = await _send(conn, name, params)
    return cursor.rowcount


async def _rows(
    conn: Connection, name: str, row: type[S], params: dict[str, Any]
) -> AsyncCursor[S]:
    cursor: AsyncCursor[Any] = await _send(conn, name, params)
    cursor.row_factory = args_row(row)
    return cursor


async def _send(conn: Connection, name: str, params: dict[str, Any]) -> AsyncCursor[DictRow]:
    statement = query(name).encode()
    try:
        return await conn.execute(statement, params)
    except (DataError, UnicodeEncodeError) as error:
        if isinstance(error, DataError) and error.sqlstate is not None:
            raise  # rejected by the server
        # The driver rejected a text before sending anything, so the transaction is still intact.
        return await conn.execute(statement, storable_value(params))
