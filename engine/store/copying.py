"""COPY: many new rows at once, in PostgreSQL's own binary format, the fastest way in.

Bytes are sent as they are, so a UUID's bytes are a uuid, and the functions here make those of what
is not as simple; strings and booleans go as they are, too.
"""

from collections.abc import Iterable
from struct import Struct
from typing import Any

from engine.store.database import Connection
from engine.store.queries import query

_JSONB_VERSION = b"\x01"
_TEXT, _UUID = 25, 2950
_HEAD = Struct("!iiIii").pack
_INT = Struct("!i").pack


async def copy_in(conn: Connection, name: str, rows: Iterable[tuple[Any, ...]]) -> None:
    """Write rows through the COPY statement of this name. Raises psycopg's errors."""
    async with conn.cursor() as cursor, cursor.copy(query(name).encode()) as copy:
        for row in rows:
            await copy.write_row(row)


def int4(number: int) -> bytes:
    """The int of a number."""
    return _INT(number)


def jsonb(encoded: bytes) -> bytes:
    """The jsonb of a JSON text."""
    return _JSONB_VERSION + encoded


def uuids(ids: Iterable[bytes]) -> bytes:
    """The uuid[] of some ids."""
    return _array(_UUID, list(ids))


def texts(items: Iterable[str]) -> bytes:
    """The text[] of some texts."""
    return _array(_TEXT, [each.encode() for each in items])


def _array(kind: int, items: list[bytes]) -> bytes:
    """One dimension, no nulls, counted from 1; each item behind its length."""
    if not items:
        return _HEAD(0, 0, kind, 0, 0)[:12]
    measured = (part for each in items for part in (_INT(len(each)), each))
    return _HEAD(1, 0, kind, len(items), 1) + b"".join(measured)
