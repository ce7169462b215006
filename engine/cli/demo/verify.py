"""Every output table against the same year rebuilt from scratch in plain SQL."""

from collections.abc import Iterable
from dataclasses import dataclass

from psycopg.sql import SQL, Composed, Identifier

from engine.cli.demo.example import read_example
from engine.store.database import Connection

REBUILT_SCHEMA = "rebuild"


@dataclass(frozen=True, slots=True)
class Comparison:
    """One table: its rows, those that the rebuild lacks, and those that only the rebuild has."""

    table: str
    rows: int
    surplus: int
    missing: int

    @property
    def is_equal(self) -> bool:
        """Whether both hold the same rows, each as many times."""
        return not self.surplus and not self.missing


async def rebuild(conn: Connection) -> None:
    """Make the schema `rebuild` anew from the source tables, as `rebuild.sql` says."""
    async with conn.transaction():
        await conn.execute(read_example("rebuild.sql").encode())


async def compare(conn: Connection, tables: Iterable[str]) -> list[Comparison]:
    """Hold each table, named with its schema, against its namesake in `rebuild`, row by row."""
    return [await _compare(conn, *table.split(".")) for table in tables]


async def _compare(conn: Connection, schema: str, table: str) -> Comparison:
    columns = await _columns(conn, schema, table)
    ours = _select(schema, table, columns)
    theirs = _select(REBUILT_SCHEMA, table, columns)
    return Comparison(
        f"{schema}.{table}",
        rows=await _count(conn, ours),
        surplus=await _count(conn, _except(ours, theirs)),
        missing=await _count(conn, _except(theirs, ours)),
    )


async def _columns(conn: Connection, schema: str, table: str) -> Composed:
    """The columns to compare, by name: each side has them in an order of its own."""
    cursor = await conn.execute(
        "SELECT column_name FROM information_schema.columns "
        "WHERE table_schema = %s AND table_name = %s ORDER BY ordinal_position",
        [schema, table],
    )
    return SQL(", ").join([Identifier(row["column_name"]) for row in await cursor.fetchall()])


def _select(schema: str, table: str, columns: Composed) -> Composed:
    return SQL("SELECT {} FROM {}").format(columns, Identifier(schema, table))


def _except(these: Composed, those: Composed) -> Composed:
    return SQL("{} EXCEPT ALL {}").format(these, those)


async def _count(conn: Connection, select: Composed) -> int:
    cursor = await conn.execute(SQL("SELECT count(*) AS rows FROM ({}) AS _").format(select))
    (row,) = await cursor.fetchall()
    return int(row["rows"])
