"""The copy of ``column_lineage`` in jobs equals the table's rows after writes by any client."""

import asyncio
from collections.abc import AsyncIterator

import pytest

from engine.lineage.columns import ALL_COLUMNS, column_maps
from engine.store.database import Connection, Database
from engine.store.lineage import load_lineage
from tests.support.worlds import World, job, source

HELD = "SELECT id, column_lineage FROM jobs"
ROWS = """
    SELECT job_id, output_dataset_uuid, input_dataset_uuid, output_column, input_column
    FROM column_lineage"""
WAITING = """
    SELECT 1 FROM pg_stat_activity
    WHERE datname = current_database() AND wait_event_type = 'Lock'"""
# (output column, input column, job)
INSERT = """
    INSERT INTO column_lineage (output_dataset_uuid, output_column, input_dataset_uuid,
                                input_column, job_id, org_id)
    SELECT o.id, %s, i.id, %s, j.id, j.org_id FROM jobs j
    JOIN datasets o ON o.name = j.output_datasets[1] JOIN datasets i ON i.name = 's'
    WHERE j.name = %s"""
WRITES = {
    "insert": "INSERT INTO column_lineage SELECT output_dataset_uuid, output_column || '2',"
    " input_dataset_uuid, input_column, job_id, org_id FROM column_lineage",
    "update": "UPDATE column_lineage SET input_column = 'w' WHERE input_column = 'v'",
    "move": "UPDATE column_lineage SET job_id = (SELECT id FROM jobs WHERE name = 'b')"
    " WHERE input_column = 'v'",
    "delete": "DELETE FROM column_lineage WHERE input_column = 'v'",
    "delete all": "DELETE FROM column_lineage",
    "delete a dataset": "DELETE FROM datasets WHERE name = 's'",
    "delete nothing": "DELETE FROM column_lineage WHERE false",
    "insert, no foreign keys": "SET session_replication_role = replica;"
    " INSERT INTO column_lineage SELECT output_dataset_uuid, '*', input_dataset_uuid, 'z', job_id,"
    " org_id"
    " FROM column_lineage ON CONFLICT DO NOTHING",
}


@pytest.fixture
async def world(database: Database) -> World:
    return await World.made(
        database,
        source("s"),
        job("a", "s", columns={"x": ["s.v"], "y": ["s.v", "s.u"]}),
        job("b", "s", columns={"x": ["s.u"]}),
        job("c", "s"),
    )


@pytest.fixture
async def conn(database: Database) -> AsyncIterator[Connection]:
    async with await database.listen_connection() as conn:  # separate: its settings change
        yield conn


async def test_a_deploy_stores_column_lineage_with_its_jobs(world: World, conn: Connection) -> None:
    await _assert_true(conn)
    lineage = await load_lineage(conn, world.org.id)
    found = {each.name: lineage.inputs(each.id)[0].columns for each in lineage.order[1:]}
    assert found == {"a": ({"v": ("x", "y"), "u": ("y",)},), "b": ({"u": ("x",)},), "c": (None,)}


@pytest.mark.parametrize("write", WRITES)
async def test_every_write_keeps_column_lineage_consistent(
    world: World, conn: Connection, write: str
) -> None:
    before = await _held(conn)
    await conn.execute(WRITES[write].encode())
    await _assert_true(conn)
    assert (await _held(conn) == before) == (write == "delete nothing")


async def test_concurrent_writes_for_one_job_keep_column_lineage_consistent(
    world: World, conn: Connection
) -> None:
    async with world.conn() as other:
        async with conn.transaction():
            await conn.execute(INSERT, ["first", "v", "c"])
            later = asyncio.create_task(other.execute(INSERT, ["second", "v", "c"]))
            await _until_one_waits(world)
        await later
    await _assert_true(conn)


async def _until_one_waits(world: World) -> None:
    for _ in range(1000):
        if await world.rows(WAITING):
            return
        await asyncio.sleep(0.01)
    raise AssertionError("nobody waits")


async def _held(conn: Connection) -> dict[object, set[tuple[object, ...]]]:
    """(output, input, output column, input column) by job, from the copy in the jobs."""
    rows = await (await conn.execute(HELD)).fetchall()
    return {
        row["id"]: {
            (*ends, output, read)
            for ends, columns in column_maps(row["column_lineage"]).items()
            for read, outputs in columns.items()
            for output in (("*",) if outputs is ALL_COLUMNS else outputs)
        }
        for row in rows
        if row["column_lineage"] is not None
    }


async def _assert_true(conn: Connection) -> None:
    rows = await (await conn.execute(ROWS)).fetchall()
    said: dict[object, set[tuple[object, ...]]] = {}
    for row in rows:
        job_id, *pair = row.values()
        said.setdefault(job_id, set()).add(tuple(pair))
    assert await _held(conn) == said
