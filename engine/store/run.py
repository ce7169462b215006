"""Running named statements: `await fetch(conn, "tasks.candidates", org_id=…)`."""

from typing import Any

from engine.store.database import Connection
from engine.store.queries import query

Row = dict[str, Any]


async def fetch(conn: Connection, name: str, **params: Any) -> list[Row]:
    """Run a statement and return all its rows, as dicts. Raises psycopg's errors."""
    cursor = await conn.execute(query(name).encode(), params)
    return await cursor.fetchall()


async def fetch_one(conn: Connection, name: str, **params: Any) -> Row | None:
    """Run a statement and return its first row, or None."""
    cursor = await conn.execute(query(name).encode(), params)
    return await cursor.fetchone()


async def execute(conn: Connection, name: str, **params: Any) -> int:
    """Run a statement and return how many rows it wrote."""
    cursor = await conn.execute(query(name).encode(), params)
    return cursor.rowcount
