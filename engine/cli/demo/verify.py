"""Comparison of every output table with a rebuild from scratch in plain SQL."""

from collections.abc import Iterable
from dataclasses import dataclass

from psycopg.sql import SQL, Composed, Identifier

from engine.cli.demo.example import read_example
from engine.store.database import Connection

REBUILT_SCHEMA = "rebuild"


@dataclass(frozen=True, slots=True)
class Comparison:
    """Rows of a table, rows missing from the rebuild, and rows only in the rebuild."""

    table: str
    rows: int
    surplus: int
    missing: int

    @property
    def is_equal(self) -> bool:
        """Return true if both have the same rows, each equally often."""
        return not self.surplus and not self.missing


async def rebuild(conn: Connection) -> None:
    """Recreate the schema `rebuild` from the source tables with `rebuild.sql`."""
    async with conn.transaction():
        await conn.execute(read_example("rebuild.sql").encode())


async def compare(conn: Connection, tables: Iterable[str]) -> list[Comparison]:
    """Compare each qualified table with the table of the same name in `rebuild`, row by row."""
    return [await _compare(conn, *table.split(".")) for table in tables]


async def _compare(conn: Connection, schema: str, table: str) -> Comparison:
    columns = await _columns(conn, schema, table)
    built = _select(schema, table, columns)
    rebuilt = _select(REBUILT_SCHEMA, table, columns)
    return Comparison(
        f"{schema}.{table}",
        rows=await _count(conn, built),
        surplus=await _count(conn, _except(built, rebuilt)),
        missing=await _count(conn, _except(rebuilt, built)),
    )


async def _columns(conn: Connection, schema: str, table: str) -> Composed:
    """The names of the columns: both tables may have them in different orders."""
    cursor = await conn.execute(
        "SELECT column_name FROM information_schema.columns "
        "WHERE table_schema = %s AND table_name = %s ORDER BY ordinal_position",
        [schema, table],
    )
    return SQL(", ").join([Identifier(row["column_name"]) for row in await cursor.fetchall()])


def _select(schema: str, table: str, columns: Composed) -> Composed:
    return SQL("SELECT {} FROM {}").format(columns, Identifier(schema, table))


def _except(left: Composed, right: Composed) -> Composed:
    return SQL("{} EXCEPT ALL {}").format(left, right)


async def _count(conn: Connection, select: Composed) -> int:
    cursor = await conn.execute(SQL("SELECT count(*) AS rows FROM ({}) AS _").format(select))
    (row,) = await cursor.fetchall()
    return int(row["rows"])
