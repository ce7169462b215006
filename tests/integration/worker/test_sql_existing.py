"""Rows of partitions that do not exist in the current dataset version are invisible to readers."""

from typing import Any

import pytest

from engine.errors import TaskFailed
from engine.flow.execution.cancel import cancel
from engine.flow.planning.audit import audit_all
from engine.store.database import Database
from tests.support.workers import run_lease, sql_job, work
from tests.support.worlds import World, job, source

SOURCES = source("orders"), source("sales"), source("other")
BOTH_DAYS = "2013-02-12..2013-02-13"
TOTAL = sql_job(
    "total",
    {"dataset": "copy", "mapping": "all"},
    sql="SELECT coalesce(sum(amount), 0)::int AS amount FROM copy",
    partitioning={},
)


@pytest.fixture
async def tables(database: Database) -> Database:
    async with database.connection() as conn:
        for name in ("orders", "sales", "other"):
            await conn.execute(f"CREATE TABLE {name} (id int, amount int, dt date)".encode())
        await conn.execute("INSERT INTO orders VALUES (1, 10, '2013-02-12'), (2, 20, '2013-02-13')")
        await conn.execute("INSERT INTO sales VALUES (3, 30, '2013-02-13'), (4, 40, '2013-02-14')")
        await conn.execute("INSERT INTO other VALUES (9, 90, '2013-02-12'), (9, 90, '2013-02-13')")
    return database


def _copy(of: str, sql: str = "SELECT id, amount FROM {}", **more: Any) -> dict[str, Any]:
    return sql_job("copy", of, sql=sql.format(of), **more)


def _mart() -> dict[str, Any]:
    sql = (
        "SELECT coalesce((SELECT sum(amount) FROM copy), 0)::int AS copied,"
        " (SELECT sum(amount) FROM other)::int AS others"
    )
    return sql_job("mart", "copy", "other", sql=sql)


async def _copied(world: World, table: str = "mart") -> dict[str, int]:
    rows = await world.rows(f"SELECT dt::text, copied FROM {table} ORDER BY dt")
    return {row["dt"]: row["copied"] for row in rows}


async def _total(world: World) -> int:
    (row,) = await world.rows("SELECT amount FROM total")
    return int(row["amount"])


async def _run_readers_first(world: World) -> None:
    for lease in sorted(await world.claim(), key=lambda lease: lease.job.name, reverse=True):
        await run_lease(world, lease)
    await work(world)


async def _assert_nothing_is_stale(world: World) -> None:
    async with world.conn() as conn:
        counts = await audit_all(conn, world.org)
    assert counts.lost == counts.in_hand == counts.left == 0


async def test_a_reader_with_another_input_reads_no_rows_of_the_earlier_version(
    tables: Database,
) -> None:
    """mart[12] has no task of copy to wait for, and runs before the table is taken over."""
    world = await World.made(tables, *SOURCES, _copy("orders"), _mart())
    await world.changed("other", BOTH_DAYS)
    await world.changed("orders", BOTH_DAYS)
    await work(world)
    assert await _copied(world) == {"2013-02-12": 10, "2013-02-13": 20}
    await world.changed("sales", "2013-02-13..2013-02-14")

    await world.deploy(*SOURCES, _copy("sales"), _mart())
    await _run_readers_first(world)

    assert (await _copied(world))["2013-02-12"] == 0
    await _assert_nothing_is_stale(world)


async def test_a_reader_of_an_input_that_was_never_built_again_reads_no_earlier_rows(
    tables: Database,
) -> None:
    """`sales` starts after the first day, so copy has no task for it, and keeps its old rows."""
    later = {"dt": {"time": "day", "start": "2013-02-13", "end": "2013-12-31", "column": "dt"}}
    sources = source("orders"), source("sales", later), source("other")
    world = await World.made(tables, *sources, _copy("orders"), _mart())
    await world.changed("other", BOTH_DAYS)
    await world.changed("orders", BOTH_DAYS)
    await work(world)

    await world.deploy(*sources, _copy("sales"), _mart())
    await work(world)

    assert await _copied(world) == {"2013-02-12": 0, "2013-02-13": 30}
    await _assert_nothing_is_stale(world)

    await world.changed("sales", "2013-02-13..2013-02-14")
    await work(world)
    assert await _copied(world) == {"2013-02-12": 0, "2013-02-13": 30, "2013-02-14": 40}


async def test_a_reader_in_another_dag_reads_no_rows_of_the_earlier_version(
    tables: Database,
) -> None:
    world = await World.made(tables, *SOURCES, _copy("orders"))
    sql = "SELECT coalesce(sum(amount), 0)::int AS copied FROM copy"
    await world.deploy(sql_job("daily", "copy", sql=sql), dag="second")
    await world.changed("orders", BOTH_DAYS)
    await work(world)
    await world.changed("sales", "2013-02-13..2013-02-14")

    await world.deploy(*SOURCES, _copy("sales"))
    await _run_readers_first(world)

    assert (await _copied(world, "daily"))["2013-02-12"] == 0


async def test_an_input_without_partitions_is_rebuilt_from_a_source_without_events(
    tables: Database,
) -> None:
    """The source may have rows that no event has named, as here."""
    whole = "SELECT sum(amount)::int AS amount FROM {}"
    reader = sql_job(
        "total",
        "copy",
        {"dataset": "other", "mapping": "all"},
        sql="SELECT (SELECT amount FROM copy) AS amount, count(*) AS others FROM other",
        partitioning={},
    )

    def copy(of: str) -> dict[str, Any]:
        read = {"dataset": of, "mapping": "all"}
        return sql_job("copy", read, sql=whole.format(of), partitioning={})

    world = await World.made(tables, *SOURCES, copy("orders"), reader)
    await world.changed("other", BOTH_DAYS)
    await world.changed("orders", BOTH_DAYS)
    await work(world)
    assert await _total(world) == 30

    await world.deploy(*SOURCES, copy("sales"), reader)
    await work(world)

    assert await world.rows("SELECT amount, others FROM total") == [{"amount": 70, "others": 2}]


async def test_a_new_definition_leaves_no_rows_in_an_adopted_table(tables: Database) -> None:
    async with tables.connection() as conn:
        await conn.execute("CREATE TABLE copy (id int, amount int, dt date)")
    of_orders, of_sales = _copy("orders"), _copy("sales")
    for each in (of_orders, of_sales):
        each["outputs"][0]["storage"] = {"adopt": True}
    world = await World.made(tables, *SOURCES, of_orders, TOTAL)
    await world.changed("orders", BOTH_DAYS)
    await world.changed("sales", "2013-02-13")
    await work(world)
    assert await _total(world) == 30

    await world.deploy(*SOURCES, of_sales, TOTAL)
    await work(world)

    assert await _total(world) == 30


async def test_rows_older_than_the_adoption_of_a_table_are_invisible(tables: Database) -> None:
    async with tables.connection() as conn:
        await conn.execute("CREATE TABLE copy (id int, amount int, dt date)")
        await conn.execute("INSERT INTO copy VALUES (7, 700, '2013-02-11')")
    adopting = _copy("orders")
    adopting["outputs"][0]["storage"] = {"adopt": True}
    world = await World.made(tables, *SOURCES, adopting, TOTAL)

    await world.changed("orders", BOTH_DAYS)
    await work(world)

    assert await _total(world) == 30
    assert await world.rows("SELECT id FROM copy WHERE dt = '2013-02-11'") == [{"id": 7}]


async def test_a_canceled_partition_of_a_new_definition_is_not_read(tables: Database) -> None:
    world = await World.made(tables, *SOURCES, _copy("orders"), TOTAL)
    await world.changed("orders", BOTH_DAYS)
    await work(world)
    times_100 = _copy("orders", "SELECT id, amount * 100 AS amount FROM {}")
    await world.deploy(*SOURCES, times_100, TOTAL)
    # copy[13] takes the table over, and keeps the rows of copy[12], which has a task.
    leases = {lease.block_key: lease for lease in await world.claim()}
    await run_lease(world, leases["2013-02-13"])
    async with world.conn() as conn:
        await cancel(conn, world.org, leases["2013-02-12"].task_id)
    await work(world)

    assert await _total(world) == 2000


async def test_all_rows_of_a_source_are_read(tables: Database) -> None:
    """Rows of a source may be older than its first event."""
    total = sql_job(
        "total",
        {"dataset": "orders", "mapping": "all"},
        sql="SELECT sum(amount)::int AS amount FROM orders",
        partitioning={},
    )
    world = await World.made(tables, *SOURCES, total)

    await world.changed("orders", "2013-02-13")
    await work(world)

    assert await _total(world) == 30


async def test_a_partition_built_after_the_claim_makes_its_reader_run_again(
    tables: Database,
) -> None:
    world = await World.made(tables, *SOURCES, _copy("orders"), TOTAL)
    await world.changed("orders", "2013-02-12")
    (copying,) = await world.claim()
    await run_lease(world, copying)
    (reading,) = await world.claim()
    await world.changed("orders", "2013-02-13")
    (copying,) = await world.claim()
    await run_lease(world, copying)

    await run_lease(world, reading)
    assert await _total(world) == 10
    await work(world)

    assert await _total(world) == 30
    await _assert_nothing_is_stale(world)


BY_CUSTOMER = {"customer": {"dynamic": True}}


@pytest.fixture
async def customers(database: Database) -> Database:
    async with database.connection() as conn:
        await conn.execute("CREATE TABLE orders (id int, amount int, customer int)")
        await conn.execute("INSERT INTO orders VALUES (1, 10, 1), (2, 20, 2), (3, 40, 3)")
    return database


def _by_customer(sql: str = "SELECT id, amount, customer FROM orders") -> dict[str, Any]:
    return sql_job("copy", "orders", sql=sql, partitioning=BY_CUSTOMER, max_attempts=1)


async def _failed(world: World) -> list[str]:
    """Run all tasks once; return those that fail."""
    failed = []
    for lease in await world.claim():
        try:
            await run_lease(world, lease)
        except TaskFailed:
            failed.append(lease.block_key)
    return failed


async def test_an_impossible_partition_fails_alone_after_a_deploy(customers: Database) -> None:
    """The first task after the deploy compares the rows of the table with all known partitions."""
    orders = source("orders", BY_CUSTOMER)
    world = await World.made(customers, orders, _by_customer())
    await world.changed("orders", "1", "2", "3", "unknown")
    assert await _failed(world) == ["unknown"]

    doubled = "SELECT id, amount * 2 AS amount, customer FROM orders WHERE customer < 3"
    await world.deploy(orders, _by_customer(doubled))
    assert await _failed(world) == ["unknown"]

    rows = await world.rows("SELECT amount FROM copy ORDER BY id")
    assert rows == [{"amount": 20}, {"amount": 40}]


async def test_an_impossible_partition_of_an_input_is_empty(customers: Database) -> None:
    """A key is compared as a value of the column's type, and some keys are not such values."""
    keys = ["1", "002", "unknown", 'a"b\\c', "{}"]
    world = await World.made(
        customers,
        source("orders", BY_CUSTOMER),
        job("copy", "orders", partitioning=BY_CUSTOMER),
        TOTAL,
    )
    async with world.conn() as conn:
        await conn.execute("CREATE TABLE copy AS SELECT * FROM orders")
    await world.changed("orders", *keys)
    for lease in await world.claim():
        await world.finish(lease)  # the job of another operator has built all of them
    await work(world)

    assert await _total(world) == 30
