"""Effects of a run: only under its lease, only once, and a change only for changed content."""

import asyncio
from datetime import UTC, datetime
from typing import Any

import pytest

from engine.errors import InvalidInput, LeaseLost, TaskFailed
from engine.flow.execution.heartbeat import heartbeat
from engine.model.task import Lease
from engine.store.database import Database
from tests.support.workers import run_lease, sql_job, with_config, work, worker
from tests.support.worlds import World, source

COPY = "SELECT id, amount FROM orders"
KEYED = {"update_strategy": "append", "unique_key": ["id"]}


@pytest.fixture
async def orders(database: Database) -> Database:
    async with database.connection() as conn:
        await conn.execute("CREATE TABLE orders (id int, amount int, note json, dt date)")
        await conn.execute(
            "INSERT INTO orders SELECT i, i * 10, '{}', '2013-02-13' FROM generate_series(1, 3) i"
        )
    return database


async def _world(database: Database, sql: Any = COPY, **more: Any) -> World:
    return await World.made(database, source("orders"), sql_job("copy", "orders", sql=sql, **more))


async def _run_again(world: World) -> None:
    await world.changed("orders", "2013-02-13")
    await work(world)


async def _version(world: World) -> datetime:
    (row,) = await world.rows(
        "SELECT p.materialized_at FROM partition_versions p JOIN datasets d"
        " ON d.id = p.dataset_uuid WHERE d.name = 'copy'"
    )
    return row["materialized_at"]


async def _copied(world: World) -> list[tuple[int, int]]:
    rows = await world.rows("SELECT id, amount FROM copy ORDER BY id, amount")
    return [(row["id"], row["amount"]) for row in rows]


async def _expire(world: World, lease: Lease) -> None:
    """End the lease as the reaper does, without the delay before the next attempt."""
    await world.rows(
        "UPDATE tasks SET status = 'queued', lease_token = NULL, lease_expires_at = NULL"
        " WHERE id = %s RETURNING id",
        lease.task_id,
    )


async def test_a_stale_lease_rolls_the_data_back(orders: Database) -> None:
    world = await _world(orders)
    await world.changed("orders", "2013-02-13")
    (stale,) = await world.claim()
    await _expire(world, stale)

    with pytest.raises(LeaseLost):
        await run_lease(world, stale)

    assert await world.rows("SELECT to_regclass('copy') AS made") == [{"made": None}]


async def test_only_the_lease_holder_commits(orders: Database) -> None:
    world = await _world(orders)
    await _run_again(world)
    await world.rows("UPDATE orders SET amount = amount + 1 RETURNING id")
    await world.changed("orders", "2013-02-13")
    (stale,) = await world.claim(worker="w1")
    await _expire(world, stale)
    (current,) = await world.claim(worker="w2")

    ended = await asyncio.gather(
        run_lease(world, stale), run_lease(world, current), return_exceptions=True
    )

    assert [type(each) for each in ended] == [LeaseLost, type(None)]
    assert await _copied(world) == [(1, 11), (2, 21), (3, 31)]
    (task,) = await world.rows("SELECT status, worker_id FROM tasks ORDER BY id DESC LIMIT 1")
    assert task == {"status": "succeeded", "worker_id": "w2"}


async def test_an_unchanged_result_writes_nothing_and_keeps_the_version(orders: Database) -> None:
    world = await _world(orders)
    await _run_again(world)
    version, before = (
        await _version(world),
        await world.rows("SELECT ctid::text FROM copy ORDER BY 1"),
    )

    await _run_again(world)

    assert await _version(world) == version
    assert await world.rows("SELECT ctid::text FROM copy ORDER BY 1") == before
    outcomes = await world.rows("SELECT outcome FROM tasks ORDER BY id")
    assert [row["outcome"] for row in outcomes] == ["changed", "unchanged"]


async def test_replacing_stores_the_rows_and_statistics_of_the_select(
    orders: Database,
) -> None:
    world = await _world(orders, sql="SELECT id % 2 AS id, 7 AS amount FROM orders")
    await _run_again(world)
    await world.rows("DELETE FROM orders WHERE id = 3 RETURNING id")

    await _run_again(world)

    assert await _copied(world) == [(0, 7), (1, 7)]
    (row,) = await world.rows("SELECT row_count, bytes FROM partition_versions WHERE row_count > 0")
    assert row["row_count"] == 2
    assert row["bytes"] > 2 * 12


@pytest.mark.parametrize(
    "tampering",
    [
        "UPDATE copy SET amount = 0 WHERE id = 1 RETURNING id",
        "DELETE FROM copy WHERE id = 2 RETURNING id",
        "INSERT INTO copy SELECT * FROM copy WHERE id = 3 RETURNING id",
    ],
)
async def test_a_table_changed_by_hand_is_corrected_and_counts_as_changed(
    orders: Database, tampering: str
) -> None:
    world = await _world(orders)
    await _run_again(world)
    version = await _version(world)
    await world.rows(tampering)

    await _run_again(world)

    assert await _copied(world) == [(1, 10), (2, 20), (3, 30)]
    assert await _version(world) > version


async def test_columns_without_equality_have_a_fingerprint(
    orders: Database,
) -> None:
    world = await _world(orders, sql="SELECT id, amount, note, point(id, 1) AS at FROM orders")
    await _run_again(world)
    version = await _version(world)

    await _run_again(world)
    assert await _version(world) == version

    await world.rows("""UPDATE orders SET note = '{"a": 1}' WHERE id = 2 RETURNING id""")
    await _run_again(world)
    assert await _version(world) > version


async def test_rows_outside_of_the_partition_are_not_tried_again(orders: Database) -> None:
    world = await _world(orders, sql="SELECT id, amount, date '2013-02-14' AS dt FROM orders")
    await world.changed("orders", "2013-02-13")
    stop = asyncio.Event()
    async with asyncio.timeout(60), asyncio.TaskGroup() as group:
        group.create_task(worker(world).run(stop))
        while "failed" not in await world.tasks():  # noqa: ASYNC110
            await asyncio.sleep(0.05)
        stop.set()
    assert (await world.task("copy[2013-02-13]", "failed"))["attempts"] == 1


@pytest.mark.parametrize("dt", ["date '2013-02-14'", "NULL::date"])
async def test_rows_outside_of_the_partition_are_an_error_and_not_written(
    orders: Database, dt: str
) -> None:
    world = await _world(orders, sql=f"SELECT id, amount, {dt} AS dt FROM orders")
    await world.changed("orders", "2013-02-13")
    (lease,) = await world.claim()

    with pytest.raises(TaskFailed, match="3 rows outside of partition '2013-02-13'"):
        await run_lease(world, lease)

    assert await world.rows("SELECT to_regclass('copy') AS made") == [{"made": None}]


async def test_a_column_with_several_values_must_come_from_the_select(orders: Database) -> None:
    by_id = {"id": {"range": 100}}
    world = await World.made(
        orders,
        source("orders", by_id),
        sql_job("copy", "orders", sql="SELECT amount FROM orders", partitioning=by_id),
    )
    await world.changed("orders", "0-99")
    (lease,) = await world.claim()

    with pytest.raises(TaskFailed, match="must give column 'id'"):
        await run_lease(world, lease)


async def test_hours_are_added_as_instants_and_weeks_as_their_monday(orders: Database) -> None:
    hourly = {"at": {"time": "hour", "zone": "America/New_York", "start": "2013-02-13T00"}}
    weekly = {"week": {"time": "week", "zone": "America/New_York", "start": "2013-W01"}}
    world = await World.made(
        orders,
        source("orders"),
        sql_job("by_hour", "orders", sql="SELECT count(*) AS n FROM orders", partitioning=hourly),
        sql_job("by_week", "orders", sql="SELECT count(*) AS n FROM orders", partitioning=weekly),
    )

    await world.changed("orders", "2013-02-13")
    await work(world)

    (hours,) = await world.rows("SELECT min(at) AS first, pg_typeof(min(at))::text FROM by_hour")
    assert hours == {
        "first": datetime(2013, 2, 13, 5, tzinfo=UTC),
        "pg_typeof": "timestamp with time zone",
    }
    assert await world.rows("SELECT week::text FROM by_week") == [{"week": "2013-02-11"}]


async def test_windows_of_other_grids_read_the_days_that_they_overlap(orders: Database) -> None:
    """Windows that start at midnight have dates, and others instants."""
    halves = {"half": {"cron": "0 0 1,15 * *", "start": "2013-01-01"}}
    steps = {"at": {"every": "6h", "start": "2013-02-12T18", "end": "2013-02-14T06"}}
    mornings = {"day": {"time": "day", "starts_at": "06:00", "start": "2013-02-12"}}
    count = "SELECT count(*) AS n FROM orders"
    world = await World.made(
        orders,
        source("orders"),
        sql_job("by_half", "orders", sql=count, partitioning=halves),
        sql_job("by_step", "orders", sql=count, partitioning=steps),
        sql_job("by_morning", "orders", sql=count, partitioning=mornings),
    )

    await world.changed("orders", "2013-02-13")
    await work(world)

    half = await world.rows("SELECT half::text, pg_typeof(half)::text AS type, n FROM by_half")
    assert half == [{"half": "2013-02-01", "type": "date", "n": 3}]
    found = await world.rows("SELECT at, n FROM by_step ORDER BY at")
    at = [datetime(2013, 2, 13, hour, tzinfo=UTC) for hour in (0, 6, 12, 18)]
    assert found == [{"at": hour, "n": 3} for hour in at]
    found = await world.rows("SELECT day, n FROM by_morning ORDER BY day")
    assert found == [{"day": datetime(2013, 2, day, 6, tzinfo=UTC), "n": 3} for day in (12, 13)]


async def test_several_outputs_are_written_atomically(orders: Database) -> None:
    daily = {"dt": {"time": "day", "start": "2013-01-01", "end": "2014-01-01"}}
    sql = {"low": "SELECT id FROM orders WHERE id < 3", "high": "SELECT 6 / (id - 3) FROM orders"}
    outputs = [{"dataset": name, "partitioning": daily} for name in sql]
    split = sql_job("split", "orders", sql=sql) | {"outputs": outputs}
    world = await World.made(orders, source("orders"), split)
    await world.changed("orders", "2013-02-13")
    (lease,) = await world.claim()

    with pytest.raises(TaskFailed, match="division by zero"):
        await run_lease(world, lease)
    assert await world.rows("SELECT to_regclass('low') AS made") == [{"made": None}]

    await world.rows("UPDATE orders SET id = 5 WHERE id = 3 RETURNING id")
    await run_lease(world, lease)
    assert await world.rows("SELECT count(*) AS n FROM low") == [{"n": 2}]
    assert await world.rows("SELECT count(*) AS n FROM high") == [{"n": 3}]


async def test_a_mapping_without_an_output_is_rejected(orders: Database) -> None:
    world = await _world(orders)
    await world.changed("orders", "2013-02-13")
    (lease,) = await world.claim()
    with pytest.raises(InvalidInput, match="a SELECT for each of copy"):
        await run_lease(world, with_config(lease, sql={"other": "SELECT 1"}))


async def test_a_task_builds_its_block_of_partitions_in_one_statement(orders: Database) -> None:
    world = await _world(orders, scaling={"partitions_per_task": 10})

    await world.changed("orders", "2013-02-11..2013-02-20")
    leases = await world.claim()
    for lease in leases:
        await run_lease(world, lease)

    assert sum(len(lease.partitions) for lease in leases) == 10 > len(leases)
    assert await _copied(world) == [(1, 10), (2, 20), (3, 30)]


async def test_appending_merges_by_the_unique_key(orders: Database) -> None:
    world = await _world(orders, **KEYED)
    await _run_again(world)
    version = await _version(world)

    await _run_again(world)
    assert await _version(world) == version

    await world.rows("DELETE FROM orders WHERE id = 1 RETURNING id")
    await world.rows("UPDATE orders SET amount = 21 WHERE id = 2 RETURNING id")
    await world.rows("INSERT INTO orders VALUES (4, 40, '{}', '2013-02-13') RETURNING id")
    await _run_again(world)

    assert await _copied(world) == [(1, 10), (2, 21), (3, 30), (4, 40)]
    assert await _version(world) > version


async def test_a_unique_key_that_moves_between_partitions_is_rejected(
    orders: Database,
) -> None:
    world = await _world(orders, **KEYED)
    await _run_again(world)
    await world.rows("UPDATE orders SET dt = '2013-02-14' RETURNING id")
    await world.changed("orders", "2013-02-14")
    (lease,) = await world.claim()

    with pytest.raises(TaskFailed, match=r"3 rows for partition '2013-02-14' .* another partition"):
        await run_lease(world, lease)


@pytest.mark.parametrize("columns", [["id"], ["amount", "dt", "id"]])
async def test_a_null_in_the_unique_key_is_merged(orders: Database, columns: list[str]) -> None:
    await _set_null(orders)
    world = await _world(orders, **KEYED | {"unique_key": columns})
    for _ in range(3):
        await _run_again(world)

    assert await _ids(world) == [1, 2, None]


async def test_a_null_key_that_moves_between_partitions_is_rejected(orders: Database) -> None:
    await _set_null(orders)
    world = await _world(orders, **KEYED)
    await _run_again(world)
    await world.rows("DELETE FROM orders WHERE id IS NOT NULL RETURNING id")
    await world.rows("UPDATE orders SET dt = '2013-02-14' RETURNING id")
    await world.changed("orders", "2013-02-14")
    (lease,) = await world.claim()

    with pytest.raises(TaskFailed, match=r"1 rows for partition '2013-02-14' .* another partition"):
        await run_lease(world, lease)


async def test_a_null_key_is_rejected_if_the_index_of_an_adopted_table_cannot_merge_it(
    orders: Database,
) -> None:
    async with orders.connection() as conn:
        await conn.execute("CREATE TABLE copy (id int UNIQUE, amount int, dt date)")
    job = sql_job("copy", "orders", sql=COPY, **KEYED)
    job["outputs"][0]["storage"] = {"adopt": True}
    world = await World.made(orders, source("orders"), job)
    await _run_again(world)
    await _set_null(orders)
    await world.changed("orders", "2013-02-13")
    (lease,) = await world.claim()

    with pytest.raises(TaskFailed, match=r"1 rows for 'copy' have a null in unique_key"):
        await run_lease(world, lease)

    assert await _ids(world) == [1, 2, 3]
    async with orders.connection() as conn:
        await conn.execute("ALTER TABLE copy DROP CONSTRAINT copy_id_key")
        await conn.execute("CREATE UNIQUE INDEX ON copy (id) NULLS NOT DISTINCT")
    await run_lease(world, lease)
    assert await _ids(world) == [1, 2, 3, None]


async def _set_null(orders: Database) -> None:
    async with orders.connection() as conn:
        await conn.execute("UPDATE orders SET id = NULL WHERE id = 3")


async def _ids(world: World) -> list[int | None]:
    return [row["id"] for row in await world.rows("SELECT id FROM copy ORDER BY id")]


async def test_a_select_beyond_the_timeout_is_canceled_by_the_database(orders: Database) -> None:
    world = await _world(orders, sql="SELECT id, pg_sleep(60)::text AS x FROM orders", timeout=1)
    await world.changed("orders", "2013-02-13")
    (lease,) = await world.claim()

    with pytest.raises(TaskFailed, match="statement timeout"):
        await run_lease(world, lease)


async def test_a_full_job_builds_everything_in_one_task(orders: Database) -> None:
    world = await _world(orders, sql="SELECT id, amount, dt FROM orders", execution_strategy="Full")

    await world.changed("orders", "2013-02-13")
    leases = await world.claim()
    for lease in leases:
        await run_lease(world, lease)

    assert len(leases) == 1
    assert await _copied(world) == [(1, 10), (2, 20), (3, 30)]
    async with world.conn() as conn:
        assert await heartbeat(conn, leases, 30) == {}


async def _named(database: Database) -> World:
    """A copy with a reader for each of two columns, all built once."""
    copy = sql_job("copy", "orders", sql="SELECT id, amount, note::text AS note FROM orders")
    sums = sql_job(
        "sums", "copy", sql="SELECT sum(amount) AS s FROM copy", columns={"s": ["copy.amount"]}
    )
    notes = sql_job(
        "notes", "copy", sql="SELECT max(note) AS n FROM copy", columns={"n": ["copy.note"]}
    )
    world = await World.made(database, source("orders"), copy, sums, notes)
    await _run_again(world)
    return world


async def _ran_after(world: World, change: str) -> list[str]:
    await world.rows(f"{change} RETURNING id")
    before = await world.rows("SELECT max(id::text)::uuid AS id FROM tasks")
    await _run_again(world)
    ran = await world.rows(
        "SELECT j.name FROM tasks t JOIN jobs j ON j.id = t.job_id"
        " WHERE t.status = 'succeeded' AND t.id > %s ORDER BY 1",
        before[0]["id"],
    )
    return [row["name"] for row in ran]


async def test_only_differing_columns_trigger_their_readers(orders: Database) -> None:
    world = await _named(orders)
    ran = await _ran_after(world, "UPDATE orders SET amount = amount + 1 WHERE id = 1")
    assert ran == ["copy", "sums"]
    assert await _ran_after(world, "UPDATE orders SET note = '[]'") == ["copy", "notes"]
    assert await _ran_after(world, "UPDATE orders SET note = '[]'") == ["copy"]


async def test_deleted_rows_trigger_every_reader(orders: Database) -> None:
    world = await _named(orders)
    assert await _ran_after(world, "DELETE FROM orders WHERE id = 1") == ["copy", "notes", "sums"]


async def test_swapped_values_trigger_readers_of_every_column(orders: Database) -> None:
    """Each column has the same set of values in different rows: every column has changed."""
    world = await _named(orders)
    swap = "UPDATE orders SET amount = 40 - amount, note = note WHERE id <> 2"
    ran = await _ran_after(world, swap)
    assert ran == ["copy", "notes", "sums"]
