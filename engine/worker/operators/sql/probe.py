"""Trying a job's SELECT without running it: its columns, and what it names.

It is made a view on views that stand for the inputs, inside a savepoint that is rolled back. So it
has to be one statement, sound by itself, that only reads; and the catalog tells what it reads.
"""

from collections.abc import Mapping

from psycopg import sql

from engine.errors import InvalidInput
from engine.store.database import Connection
from engine.store.run import fetch
from engine.worker.operators.sql.reads import PARTITION, Unit, partition_row
from engine.worker.operators.sql.tables import Table, describe

_PROBE = ("pg_temp", "knockon_probe")
_VIEW = sql.SQL("CREATE TEMP VIEW {} AS {}")


async def probe(
    conn: Connection, text: str, tables: Mapping[str, Table], unit: Unit
) -> Mapping[str, str]:
    """The columns that the SELECT gives, with their types.

    Raises InvalidInput when it names a table that is none of the job's inputs, psycopg's errors
    when it is no sound SELECT.
    """
    async with conn.transaction(force_rollback=True):
        for alias, table in tables.items():
            everything = sql.SQL("SELECT * FROM {}").format(table.identifier)
            await conn.execute(_VIEW.format(sql.Identifier(alias), everything))
        await conn.execute(_VIEW.format(sql.Identifier(PARTITION), partition_row(unit)))
        view = _VIEW.format(sql.Identifier(_PROBE[1]), as_it_stands(text))
        await conn.execute(view, binary=True)  # binary: the protocol that takes one statement only
        await _refuse_others(conn, tables)
        return (await describe(conn, [_PROBE]))[_PROBE].columns


def as_it_stands(text: str) -> sql.SQL:
    """The one text that comes from outside and is not quoted: a deployed DAG's own SELECT."""
    return sql.SQL(f"\n{text}\n")


async def _refuse_others(conn: Connection, tables: Mapping[str, Table]) -> None:
    others = [row["name"] for row in await fetch(conn, "tables.read_by_probe")]
    if others:
        raise InvalidInput(
            f"the SELECT reads {', '.join(others)}, which is none of the job's inputs: read "
            f"them by alias ({', '.join(tables) or 'there are none'}), and declare what is missing"
        )
