"""Log entries of statements on an attached table."""

import psycopg
import pytest
from psycopg import AsyncConnection

ORIGIN = {"origin": {"dynamic": True}}
FLIGHTS = """CREATE TABLE flights (
    id int PRIMARY KEY, origin text, delay int, note json, hour timestamptz DEFAULT '2013-02-13Z'
)"""


@pytest.fixture
async def flights(source):
    await source.run(FLIGHTS)
    await source.attach("flights", ORIGIN)
    await source.run(
        "INSERT INTO flights VALUES (1, 'JFK', 1, '{}'), (2, 'JFK', 2, NULL), (3, 'EWR', 3, '{}')"
    )
    return source


async def test_an_insert_logs_each_partition_once(flights):
    logged = await flights.logged(
        "INSERT INTO flights VALUES (4, 'LGA', 0), (5, 'JFK', 0), (6, 'LGA', 0)"
    )
    assert logged == [("insert", ["JFK", "LGA"], None, 3)]


async def test_rows_are_logged_by_the_windows_of_other_grids(source):
    await source.run("CREATE TABLE clicks (at timestamptz, day date)")
    steps = {"every": "15m", "zone": "America/New_York"}
    weeks = {"time": "week", "starts_on": "sunday"}
    await source.attach("clicks", {"at": steps, "day": weeks})
    logged = await source.logged(
        "INSERT INTO clicks VALUES ('2013-02-13 05:20-05', '2013-02-13'),"
        " ('2013-02-13 05:29-05', '2013-02-16'), ('2013-11-03 01:40-05', '2013-02-17')"
    )
    repeated = "at=2013-11-03T01:30..2013-11-03T01:30-0500/day=2013-02-17"
    assert logged == [("insert", ["at=2013-02-13T05:15/day=2013-02-10", repeated], None, 3)]


async def test_a_delete_logs_the_partitions_of_deleted_rows(flights):
    logged = await flights.logged("DELETE FROM flights WHERE origin = 'JFK'")
    assert logged == [("delete", ["JFK"], None, 2)]


async def test_a_truncate_logs_a_change_of_everything(flights):
    assert await flights.logged("TRUNCATE flights") == [("truncate", None, None, None)]


async def test_an_update_logs_exactly_the_changed_columns(flights):
    logged = await flights.logged(
        "UPDATE flights SET delay = delay + 1, note = note, origin = origin"
    )
    assert logged == [("update", ["EWR", "JFK"], ["delay"], 3)]


async def test_a_value_without_an_equality_operator_can_change(flights):
    logged = await flights.logged("UPDATE flights SET note = '{ }' WHERE id IN (1, 2)")
    assert logged == [("update", ["JFK"], ["note"], 2)]


async def test_partitions_with_different_changed_columns_are_logged_separately(flights):
    logged = await flights.logged("UPDATE flights SET delay = 2, note = '{}'")
    assert sorted(logged, key=str) == [
        ("update", ["EWR"], ["delay"], 1),
        ("update", ["JFK"], ["delay", "note"], 2),
    ]


async def test_unchanged_rows_are_not_counted(flights):
    logged = await flights.logged("UPDATE flights SET delay = 3")
    assert logged == [("update", ["JFK"], ["delay"], 2)]


@pytest.mark.parametrize(
    "statement",
    [
        "UPDATE flights SET delay = delay",
        "UPDATE flights SET delay = 9 WHERE false",
        "DELETE FROM flights WHERE false",
        "INSERT INTO flights SELECT * FROM flights WHERE false",
        "INSERT INTO flights VALUES (1) ON CONFLICT DO NOTHING",
    ],
)
async def test_statements_without_effect_log_nothing(flights, statement):
    assert await flights.logged(statement) == []


async def test_a_row_that_moves_changes_both_partitions_in_all_columns(flights):
    logged = await flights.logged("UPDATE flights SET origin = 'LGA' WHERE id = 1")
    assert logged == [("update", ["JFK", "LGA"], None, 1)]


async def test_a_changed_primary_key_leaves_the_columns_unknown(flights):
    logged = await flights.logged("UPDATE flights SET id = id + 10, delay = 0 WHERE id = 3")
    assert logged == [("update", ["EWR"], None, 2)]


async def test_an_upsert_logs_inserts_and_updates(flights):
    logged = await flights.logged(
        "INSERT INTO flights VALUES (1, 'JFK', 7, '{}'), (9, 'LGA', 9, NULL)"
        " ON CONFLICT (id) DO UPDATE SET delay = excluded.delay"
    )
    assert sorted(logged) == [("insert", ["LGA"], None, 1), ("update", ["JFK"], ["delay"], 1)]


async def test_copy_is_an_insert(flights):
    await flights.logged()
    async with flights.connection.cursor().copy("COPY flights (id, origin) FROM STDIN") as copy:
        await copy.write_row((7, "BOS"))
        await copy.write_row((8, "LGA"))
    rows = await flights.rows("SELECT kind, partitions, rows FROM knockon_source.changes")
    assert rows == [("insert", ["BOS", "LGA"], 2)]


async def test_a_cascade_is_a_delete(flights):
    await flights.run(
        "CREATE TABLE crews (id int PRIMARY KEY, origin text,"
        " flight int REFERENCES flights ON DELETE CASCADE)",
        "INSERT INTO crews VALUES (1, 'JFK', 1)",
    )
    await flights.attach("crews", ORIGIN, dataset="crews")
    await flights.logged("DELETE FROM flights WHERE id = 1")
    rows = await flights.rows("SELECT dataset, partitions FROM knockon_source.changes ORDER BY 1")
    assert rows == [("crews", ["JFK"]), ("d", ["JFK"])]


async def test_a_rolled_back_transaction_logs_nothing(flights):
    await flights.logged()
    with pytest.raises(psycopg.errors.DivisionByZero):
        async with flights.connection.transaction():
            await flights.run("DELETE FROM flights", "SELECT 1 / 0")
    assert await flights.rows("SELECT * FROM knockon_source.changes") == []


async def test_changes_in_replica_sessions_are_captured(flights):
    logged = await flights.logged(
        "SET session_replication_role = replica",
        "DELETE FROM flights WHERE id = 3",
        "RESET session_replication_role",
    )
    assert logged == [("delete", ["EWR"], None, 1)]


async def test_without_a_primary_key_columns_are_unknown_but_idle_updates_are_not_logged(source):
    await source.run("CREATE TABLE t (origin text, n int, j json)")
    await source.attach("t", ORIGIN)
    await source.run("INSERT INTO t VALUES ('JFK', 1, NULL), ('JFK', 1, NULL), ('EWR', 2, '{}')")
    assert await source.logged("UPDATE t SET n = 1 WHERE origin = 'JFK'") == []
    logged = await source.logged("UPDATE t SET n = 2")
    assert logged == [("update", ["JFK"], None, 4)]


async def test_a_primary_key_may_have_several_columns(source):
    await source.run("CREATE TABLE t (a int, b date, origin text, n int, PRIMARY KEY (b, a))")
    await source.attach("t", ORIGIN)
    await source.run(
        "INSERT INTO t VALUES (1, '2013-01-01', 'JFK', 1), (1, '2013-01-02', 'EWR', 1)"
    )
    logged = await source.logged("UPDATE t SET n = 2 WHERE b = '2013-01-02'")
    assert logged == [("update", ["EWR"], ["n"], 1)]


async def test_an_unpartitioned_table_logs_a_change_of_everything(source):
    await source.run(FLIGHTS)
    await source.attach("flights", {})
    assert await source.logged("INSERT INTO flights VALUES (1)") == [("insert", None, None, 1)]
    logged = await source.logged("UPDATE flights SET delay = 1")
    assert logged == [("update", None, ["delay"], 1)]
    logged = await source.logged("UPDATE flights SET id = 2")
    assert logged == [("update", None, None, 2)]


async def test_many_partitions_are_logged_as_one_range(source):
    await source.run("CREATE TABLE t (id int PRIMARY KEY, origin text DEFAULT 'JFK')")
    by_id = {"b": {"range": 10, "column": "id"}}
    await source.attach("t", by_id, dataset="plain")
    await source.attach("t", by_id | ORIGIN, dataset="product")
    await source.run("INSERT INTO t SELECT -20 + 10 * i FROM generate_series(0, 1000) i")
    rows = await source.rows("SELECT dataset, partitions FROM knockon_source.changes ORDER BY 1")
    assert rows == [
        ("plain", ["-20--11..9980-9989"]),
        ("product", ["b=-20--11..9980-9989/origin=JFK"]),
    ]


async def test_many_text_keys_are_logged_as_a_change_of_everything(source):
    await source.run("CREATE TABLE t (id int PRIMARY KEY, origin text)")
    await source.attach("t", ORIGIN)
    logged = await source.logged("INSERT INTO t SELECT i, i FROM generate_series(0, 1000) i")
    assert logged == [("insert", None, None, 1001)]


async def test_a_row_without_a_key_widens_only_that_dimension(source):
    await source.run("CREATE TABLE t (id int PRIMARY KEY, day date, origin text)")
    listed = {"day": {"time": "day", "start": "2013-01-01"}, "origin": {"static": ["JFK"]}}
    await source.attach("t", listed)
    logged = await source.logged("INSERT INTO t VALUES (1, '2013-02-13', 'XXX')")
    assert logged == [("insert", ["day=2013-02-13/origin=*"], None, 1)]
    logged = await source.logged("INSERT INTO t VALUES (2, '2012-12-31', 'JFK'), (3, NULL, 'JFK')")
    assert logged == [("insert", ["day=*/origin=JFK"], None, 2)]


@pytest.mark.parametrize("change", ["SET v = 2", "SET v = 2, n = 2"])
async def test_a_column_added_later_makes_the_columns_unknown(source, change):
    await source.run("CREATE TABLE t (id int PRIMARY KEY, origin text, n int)")
    await source.attach("t", ORIGIN)
    await source.run("INSERT INTO t VALUES (1, 'JFK', 1)", "ALTER TABLE t ADD COLUMN v int")
    assert await source.logged(f"UPDATE t {change}") == [("update", ["JFK"], None, 1)]
    await source.attach("t", ORIGIN)
    assert await source.logged("UPDATE t SET v = 3") == [("update", ["JFK"], ["v"], 1)]


async def test_a_virtual_column_counts_as_changed_with_any_other(source):
    if source.connection.info.server_version < 180000:
        pytest.skip("virtual columns come with PostgreSQL 18")
    await source.run(
        "CREATE TABLE t (id int PRIMARY KEY, origin text, n int, twice int"
        " GENERATED ALWAYS AS (n * 2) VIRTUAL)"
    )
    await source.attach("t", ORIGIN)
    await source.run("INSERT INTO t VALUES (1, 'JFK', 1)")
    assert await source.logged("UPDATE t SET n = 2") == [("update", ["JFK"], ["n", "twice"], 1)]


async def test_a_failing_trigger_widens_the_change_and_does_not_fail_the_writer(flights):
    await flights.run("ALTER TABLE flights RENAME COLUMN origin TO departure")
    logged = await flights.logged(
        "INSERT INTO flights VALUES (4, 'LGA', 0)", "DELETE FROM flights WHERE id = 4"
    )
    assert logged == [("insert", None, None, None), ("delete", None, None, None)]


async def test_a_broken_log_does_not_fail_the_writer(flights):
    warnings: list[str | None] = []
    flights.connection.add_notice_handler(lambda each: warnings.append(each.message_primary))
    await flights.run(
        "DROP TABLE knockon_source.changes", "DELETE FROM flights", "TRUNCATE flights"
    )
    assert await flights.rows("SELECT * FROM flights") == []
    assert any("did not log a change" in (each or "") for each in warnings)


async def test_writers_need_no_privileges_on_the_log(flights):
    # Roles belong to the whole server, so the rollback must remove this role.
    async with flights.connection.transaction(force_rollback=True):
        await flights.run(
            "DELETE FROM knockon_source.changes",
            "CREATE ROLE clerk",
            "GRANT SELECT, UPDATE ON flights TO clerk",
            "SET LOCAL ROLE clerk",
            "SET LOCAL search_path = pg_temp",
            "CREATE TEMP TABLE pg_class (relnatts int)",
            "UPDATE public.flights SET delay = 10 WHERE id = 1",
            "RESET ROLE",
        )
        rows = await flights.rows("SELECT partitions, columns FROM knockon_source.changes")
    assert rows == [(["JFK"], ["delay"])]


async def test_a_statement_sends_one_notification_for_any_number_of_rows(flights, connect):
    listener: AsyncConnection = await connect()
    await listener.set_autocommit(True)
    await listener.execute("LISTEN knockon_changes")
    await flights.run("UPDATE flights SET delay = delay + 1")
    payloads = [
        notification.payload async for notification in listener.notifies(timeout=10, stop_after=1)
    ]
    assert payloads == [""]


async def test_any_column_name_is_supported(source):
    names = ["o", "n", "r", "b0", "o0", "n0", "d0", "was", "rows", "columns", "key", "found", "new"]
    listed = ", ".join(f'"{name}" int DEFAULT 0' for name in names)
    await source.run(f"CREATE TABLE pair (id int PRIMARY KEY, origin text, {listed})")
    await source.attach("pair", ORIGIN)
    await source.run("INSERT INTO pair VALUES (1, 'JFK')")
    for name in names:
        logged = await source.logged(f'UPDATE pair SET "{name}" = 1')
        assert logged == [("update", ["JFK"], [name], 1)]
