"""Tables according to the database's catalog at the moment."""

from engine.store.database import Database
from engine.worker.operators.sql.tables import describe


async def test_a_table_that_another_transaction_has_just_made_is_seen(database: Database) -> None:
    async with database.connection() as one, database.connection() as two, two.transaction():
        assert await describe(two, [("public", "fresh")]) == {}
        await one.execute("CREATE TABLE fresh (a int)")
        found = await describe(two, [("public", "fresh")])
    assert found[("public", "fresh")].schema == "public"
