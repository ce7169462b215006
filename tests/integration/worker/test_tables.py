"""Tables according to the database's catalog at the moment."""

from engine.store.database import Database
from engine.worker.operators.sql.tables import describe


async def test_a_table_just_created_by_another_transaction_is_visible(database: Database) -> None:
    async with database.connection() as one, database.connection() as two, two.transaction():
        assert await describe(two, [("public", "fresh")]) == {}
        await one.execute("CREATE TABLE fresh (a int)")
        found = await describe(two, [("public", "fresh")])
    assert found[("public", "fresh")].schema == "public"
