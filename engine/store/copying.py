"""Bulk inserts by COPY in PostgreSQL's binary format, the fastest method.

Values of type bytes are sent unchanged, so a uuid is passed as the bytes of a UUID. Strings and
booleans need no conversion; the functions here encode other types.
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
    """Write rows with the named COPY statement. Raises psycopg's errors."""
    async with conn.cursor() as cursor, cursor.copy(query(name).encode()) as copy:
        for row in rows:
            await copy.write_row(row)


def int4(number: int) -> bytes:
    """Encode a number as int."""
    return _INT(number)


def jsonb(encoded: bytes) -> bytes:
    """Encode a JSON text as jsonb."""
    return _JSONB_VERSION + encoded


def uuids(ids: Iterable[bytes]) -> bytes:
    """Encode ids as uuid[]."""
    return _array(_UUID, list(ids))


def texts(items: Iterable[str]) -> bytes:
    """Encode texts as text[]."""
    return _array(_TEXT, [item.encode() for item in items])


def _array(kind: int, items: list[bytes]) -> bytes:
    """Encode a one-dimensional array without nulls; its lower bound is 1.

    Each item is prefixed with its length.
    """
    if not items:
        return _HEAD(0, 0, kind, 0, 0)[:12]
    measured = (part for item in items for part in (_INT(len(item)), item))
    return _HEAD(1, 0, kind, len(items), 1) + b"".join(measured)
