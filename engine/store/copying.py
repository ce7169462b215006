"""Bulk inserts by COPY in PostgreSQL's binary format, the fastest method.

A row is a sequence of fields: values in the binary format of their type, behind their length. The
functions here encode them. Rows are joined here rather than by the driver, whose conversion of each
value takes longer than the server takes to store it. Source of the format: PostgreSQL's
documentation of COPY, "Binary Format".
"""

from collections.abc import Iterable, Iterator
from itertools import islice
from struct import Struct

from engine.store.database import Connection
from engine.store.queries import query

Field = bytes
"""Length and value."""

NULL: Field = b"\xff\xff\xff\xff"
_SIGNATURE = b"PGCOPY\n\xff\r\n\0" + bytes(8)
_END = b"\xff\xff"
_ROWS_AT_ONCE = 100
"""Rows of a part: few, so that the server stores the first while the next are encoded."""
_JSONB_VERSION = b"\x01"
_TEXT, _UUID = 25, 2950
_HEAD = Struct("!iiIii").pack
_COUNT = Struct("!h").pack
_LENGTH = Struct("!i").pack
_INT = Struct("!ii").pack
_OF_UUID = _LENGTH(16)


async def copy_in(conn: Connection, name: str, rows: Iterable[tuple[Field, ...]]) -> None:
    """Write rows with the named COPY statement. Raises psycopg's errors."""
    async with conn.cursor() as cursor, cursor.copy(query(name).encode()) as copy:
        for part in encoded(rows):
            await copy.write(part)


def encoded(rows: Iterable[tuple[Field, ...]]) -> Iterator[bytes]:
    """Yield the data of a COPY in parts of a bounded number of rows."""
    lines = (b"".join((_COUNT(len(row)), *row)) for row in rows)
    yield _SIGNATURE
    while part := b"".join(islice(lines, _ROWS_AT_ONCE)):
        yield part
    yield _END


def uuid(value: bytes) -> Field:
    """Encode the bytes of a UUID."""
    return _OF_UUID + value


def text(value: str) -> Field:
    """Encode a text."""
    return _field(value.encode())


def boolean(value: bool) -> Field:
    """Encode a boolean."""
    return b"\0\0\0\x01\x01" if value else b"\0\0\0\x01\0"


def int4(number: int) -> Field:
    """Encode a number as int."""
    return _INT(4, number)


def jsonb(encoded: bytes) -> Field:
    """Encode a JSON text as jsonb."""
    return _field(_JSONB_VERSION + encoded)


def uuids(ids: Iterable[bytes]) -> Field:
    """Encode the bytes of UUIDs as uuid[]."""
    return _array(_UUID, map(uuid, ids))


def texts(items: Iterable[str]) -> Field:
    """Encode texts as text[]."""
    return _array(_TEXT, map(text, items))


def _field(value: bytes) -> Field:
    return _LENGTH(len(value)) + value


def _array(kind: int, items: Iterator[Field]) -> Field:
    """Encode a one-dimensional array without nulls; its lower bound is 1."""
    fields = list(items)
    if not fields:
        return _field(_HEAD(0, 0, kind, 0, 0)[:12])
    return _field(_HEAD(1, 0, kind, len(fields), 1) + b"".join(fields))
