"""Names are folded and truncated as by the server."""

import pytest
from psycopg.sql import SQL, Identifier

from engine.lineage.sql.called import mentioned
from engine.model.tables import sql_name
from engine.store.database import Database

_NAMES = [
    "İstanbul",
    "GROẞ",
    "KELVIN\N{KELVIN SIGN}",
    "ÄNDERN",
    '"Ä"',
    '"a""b"',
    "É" * 40,
    "A" * 70,
]


@pytest.mark.parametrize("text", _NAMES)
async def test_a_table_name_resolves_as_in_sql(database: Database, text: str) -> None:
    async with database.connection() as conn:
        await conn.execute(f"CREATE SCHEMA s CREATE TABLE {text} (a int)".encode())
        for spelled in (f"s.{text}", f"S . {text} ", f"{conn.info.dbname}.s.{text}"):
            name = Identifier(*sql_name(spelled).parts)
            query = SQL("SELECT to_regclass({}) = {}::regclass AS is_same").format(
                spelled, name.as_string(conn)
            )
            (row,) = await (await conn.execute(query)).fetchall()
            assert row["is_same"], spelled


@pytest.mark.parametrize("text", _NAMES)
async def test_a_function_name_resolves_as_in_sql(database: Database, text: str) -> None:
    async with database.connection() as conn:
        await conn.execute(f"CREATE FUNCTION {text}() RETURNS int RETURN 1".encode())
        found = await conn.execute("SELECT proname FROM pg_proc ORDER BY oid DESC LIMIT 1")
        (row,) = await found.fetchall()
    assert row["proname"] in {each.name for each in mentioned(f"SELECT {text}()").called}
