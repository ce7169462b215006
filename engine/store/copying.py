"""Bulk inserts by COPY in PostgreSQL's binary format, the fastest method.

A row is a sequence of fields: values in the binary format of their type, behind their length. The
functions here encode them. Rows are joined here rather than by the driver, whose conversion of each
value takes longer than the server takes to store it. Source of the format: PostgreSQL's
documentation of COPY, "Binary Format".
"""

import re
from collections.abc import Iterable, Iterator
from itertools import islice
from struct import Struct

from engine.store.database import Connection
from engine.store.queries import query
from engine.store.rows.roles import RowSecurity
from engine.store.run import fetch

Field = bytes
"""Length and value."""

NULL: Field = b"\xff\xff\xff\xff"
_SIGNATURE = b"PGCOPY\n\xff\r\n\0" + bytes(8)
_END = b"\xff\xff"
_ROWS_AT_ONCE = 100
"""Rows of a part: few, so that the server stores the first while the next are encoded."""
_TARGET = re.compile(r"COPY (\S+) \((.*?)\)", re.DOTALL)
_TEMPORARY = "pg_temp.copied"
_CREATE = "CREATE TEMPORARY TABLE pg_temp.copied AS SELECT {columns} FROM {table} WITH NO DATA"
_INSERT = "INSERT INTO {table} ({columns}) SELECT {columns} FROM pg_temp.copied"
_DROP = "DROP TABLE pg_temp.copied"
_JSONB_VERSION = b"\x01"
_TEXT, _UUID = 25, 2950
_HEAD = Struct("!iiIii").pack
_COUNT = Struct("!h").pack
_LENGTH = Struct("!i").pack
_INT = Struct("!ii").pack
_OF_UUID = _LENGTH(16)


async def copy_in(conn: Connection, name: str, rows: Iterable[tuple[Field, ...]]) -> None:
    """Write rows with the named COPY statement, in a transaction. Raises psycopg's errors.

    PostgreSQL refuses to copy into a table with row-level security. For a role with restricted
    access, the rows pass through a temporary table, with about half the speed.
    """
    statement = query(name)
    if not await _is_restricted(conn):
        await _copy(conn, statement, rows)
        return
    table, columns = _target(statement)
    await conn.execute(_CREATE.format(table=table, columns=columns).encode())
    await _copy(conn, statement.replace(table, _TEMPORARY, 1), rows)
    await conn.execute(_INSERT.format(table=table, columns=columns).encode())
    await conn.execute(_DROP)


def _target(statement: str) -> tuple[str, str]:
    """Return the table of a COPY statement, and the list of columns."""
    match = _TARGET.search(statement)
    assert match is not None, statement  # noqa: S101
    return match[1], match[2]


async def _is_restricted(conn: Connection) -> bool:
    """Return True if policies apply to the session's role; a superuser costs no round trip."""
    if conn.info.parameter_status("is_superuser") == "on":
        return False
    (row,) = await fetch(conn, "roles.row_security", RowSecurity)
    return row.is_active


async def _copy(conn: Connection, statement: str, rows: Iterable[tuple[Field, ...]]) -> None:
    async with conn.cursor() as cursor, cursor.copy(statement.encode()) as copy:
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
