"""Execution of named statements: `await fetch(conn, "tasks.candidates", Candidate, org_id=…)`."""

from collections.abc import Callable, Sequence
from typing import Any, TypeVar, overload

import msgspec
from psycopg import AsyncCursor, DataError
from psycopg.rows import DictRow

from engine.store.database import Connection
from engine.store.queries import query
from engine.store.text import storable_value

Row = dict[str, Any]
S = TypeVar("S", bound=msgspec.Struct)


@overload
async def fetch(conn: Connection, name: str, /, **params: Any) -> list[Row]: ...
@overload
async def fetch(conn: Connection, name: str, row: type[S], /, **params: Any) -> list[S]: ...
async def fetch(
    conn: Connection, name: str, row: type[S] | None = None, /, **params: Any
) -> list[Row] | list[S]:
    """Run a statement and return all its rows. Raises psycopg's errors.

    ``row``: a struct, whose fields are the columns in order; rows without one are dicts.
    """
    cursor = await _run(conn, name, row, params)
    return await cursor.fetchall()


@overload
async def fetch_one(conn: Connection, name: str, /, **params: Any) -> Row | None: ...
@overload
async def fetch_one(conn: Connection, name: str, row: type[S], /, **params: Any) -> S | None: ...
async def fetch_one(
    conn: Connection, name: str, row: type[S] | None = None, /, **params: Any
) -> Row | S | None:
    """Run a statement and return its first row, or None; see `fetch`."""
    cursor = await _run(conn, name, row, params)
    return await cursor.fetchone()


async def execute(conn: Connection, name: str, /, **params: Any) -> int:
    """Run a statement and return the number of rows written."""
    cursor = await _run(conn, name, None, params)
    return cursor.rowcount


async def _run(
    conn: Connection, name: str, row: type[S] | None, params: dict[str, Any]
) -> AsyncCursor[Any]:
    cursor: AsyncCursor[Any] = await _send(conn, query(name).encode(), params)
    if row is not None:
        cursor.row_factory = _factory(row)
    return cursor


async def _send(conn: Connection, statement: bytes, params: dict[str, Any]) -> AsyncCursor[DictRow]:
    try:
        return await conn.execute(statement, params)
    except (DataError, UnicodeEncodeError) as error:
        if isinstance(error, DataError) and error.sqlstate is not None:
            raise  # rejected by the server
        # The driver rejected a text before sending anything, so the transaction is still intact.
        return await conn.execute(statement, storable_value(params))


def _factory(row: type[S]) -> Callable[[Any], Callable[[Sequence[Any]], S]]:
    """Return a row factory of psycopg, which makes structs of the values of rows."""

    def make(values: Sequence[Any]) -> S:
        return row(*values)

    return lambda _: make
