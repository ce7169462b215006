"""A table that changes between the check of a run and its write."""

from typing import Any

import pytest

from engine.errors import InvalidInput, TaskFailed
from engine.store.database import Database
from engine.worker.operators.sql import operator
from tests.support.workers import run_lease, sql_job, work
from tests.support.worlds import World, source

_SETUP = """
CREATE TABLE orders (id int, dt date);
CREATE TABLE raw (id int, dt date);
INSERT INTO raw VALUES (7, '2013-02-13'), (8, '2013-02-14');
CREATE SCHEMA one;
CREATE TABLE one.given (id int UNIQUE, dt date) PARTITION BY RANGE (id);
CREATE TABLE one.rest PARTITION OF one.given FOR VALUES FROM (0) TO (5);
GRANT ALL ON ALL TABLES IN SCHEMA public, one TO PUBLIC;
GRANT USAGE ON SCHEMA one TO PUBLIC;
"""
_SWAP = "ALTER TABLE copy RENAME TO old; ALTER TABLE raw RENAME TO copy"
_TRIGGER = """
CREATE FUNCTION wipe() RETURNS trigger LANGUAGE plpgsql AS
    'BEGIN DELETE FROM public.raw; RETURN NULL; END';
CREATE TRIGGER t AFTER INSERT ON {} FOR EACH STATEMENT EXECUTE FUNCTION wipe()
"""
_DEFERRED = (
    _TRIGGER.format("public.copy DEFERRABLE INITIALLY DEFERRED")
    .replace("TRIGGER t AFTER", "CONSTRAINT TRIGGER t AFTER")
    .replace("EACH STATEMENT", "EACH ROW")
)


@pytest.mark.parametrize(
    ("storage", "statements", "message"),
    [
        ({}, _SWAP, "table public.copy exists, and Knockon did not create it"),
        ({}, _TRIGGER.format("public.copy"), "also wrote to public.raw, which holds source"),
        ({}, _DEFERRED, "also wrote to public.raw, which holds source"),
        (
            {"table": "one.given", "adopt": True},
            "ALTER TABLE one.given ATTACH PARTITION raw FOR VALUES FROM (5) TO (9)",
            "changes public.raw, which holds source dataset 'raw'",
        ),
        (
            {"table": "one.given", "adopt": True},
            "DELETE FROM raw WHERE id > 2;"
            "ALTER TABLE raw ADD FOREIGN KEY (id) REFERENCES one.given (id) ON DELETE CASCADE",
            "changes public.raw, which holds source dataset 'raw'",
        ),
        (
            {"table": "one.given", "adopt": True},
            _TRIGGER.format("one.given"),
            "also wrote to public.raw, which holds source dataset 'raw'",
        ),
    ],
)
async def test_a_table_changed_before_the_write_is_not_written(
    database: Database,
    monkeypatch: pytest.MonkeyPatch,
    storage: dict[str, Any],
    statements: str,
    message: str,
) -> None:
    async with database.connection() as conn:
        await conn.execute(_SETUP.encode())
    copy = sql_job("copy", "orders", sql="SELECT id FROM orders")
    copy["outputs"][0]["storage"] = storage
    world = await World.made(database, source("orders"), source("raw"), copy)
    await world.changed("orders", "2013-02-12..2013-02-13")
    await work(world)
    await world.rows("INSERT INTO orders VALUES (1, '2013-02-13') RETURNING id")
    await world.changed("orders", "2013-02-13")
    (lease,) = await world.claim()
    write = operator._write

    async def after_the_change(*args: Any) -> Any:
        async with database.connection() as conn:
            await conn.execute(statements.encode())
        return await write(*args)

    monkeypatch.setattr(operator, "_write", after_the_change)
    with pytest.raises((InvalidInput, TaskFailed), match=message):
        await run_lease(world, lease)
