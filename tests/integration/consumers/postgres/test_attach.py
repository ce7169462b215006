"""Attaching, attaching again, detaching and announcing."""

import pytest

from engine.errors import InvalidInput, InvalidPartition, ServiceUnavailable, UnknownName

ORIGIN = {"origin": {"dynamic": True}}
STRANGE = '"Odd "" Schema"."Tab.le; -- $body$ {0}"'


async def triggers(source) -> int:
    (row,) = await source.rows("SELECT count(*) AS n FROM pg_trigger WHERE tgname ~ '^knockon'")
    return row.n


async def functions(source) -> int:
    (row,) = await source.rows(
        "SELECT count(*) AS n FROM pg_proc WHERE pronamespace = 'knockon_source'::regnamespace"
        " AND prorettype = 'trigger'::regtype"
    )
    return row.n


@pytest.fixture
async def t(source):
    await source.run("CREATE TABLE t (id int PRIMARY KEY, origin text, dest text, at timestamptz)")
    return source


async def test_attaching_again_replaces(t):
    await t.attach("t", ORIGIN)
    await t.attach("public.t", {"dest": {"dynamic": True}})
    assert await triggers(t) == await functions(t) == 4
    logged = await t.logged("INSERT INTO t VALUES (1, 'JFK', 'BOS')")
    assert logged == [("insert", ["BOS"], None, 1)]


async def test_a_session_may_attach_any_number_of_times(t):
    for _ in range(8):  # past the point where psycopg prepares a statement
        await t.attach("t", ORIGIN, announce=True)
        await t.detach("t", "d")


async def test_a_table_may_be_attached_as_two_datasets(t):
    await t.attach("t", ORIGIN, dataset="by_origin")
    await t.attach("t", {"dest": {"dynamic": True}}, dataset="by_dest")
    await t.run("INSERT INTO t VALUES (1, 'JFK', 'BOS')")
    rows = await t.rows("SELECT dataset, partitions FROM knockon_source.changes ORDER BY 1")
    assert rows == [("by_dest", ["BOS"]), ("by_origin", ["JFK"])]


async def test_detach_removes_the_capture_of_one_dataset(t):
    await t.attach("t", ORIGIN, dataset="one")
    await t.attach("t", ORIGIN, dataset="two")
    await t.detach("t", "one")
    assert await triggers(t) == await functions(t) == 4
    await t.run("INSERT INTO t VALUES (1, 'JFK')")
    assert await t.rows("SELECT dataset FROM knockon_source.changes") == [("two",)]
    with pytest.raises(UnknownName, match="not attached to 'one'"):
        await t.detach("t", "one")


async def test_a_renamed_table_stays_attached_and_can_be_detached(t):
    await t.attach("t", ORIGIN)
    await t.run("INSERT INTO t VALUES (1, 'JFK')", "ALTER TABLE t RENAME TO u")
    logged = await t.logged("UPDATE u SET dest = 'BOS'")
    assert logged == [("update", ["JFK"], ["dest"], 1)]
    await t.detach("u", "d")
    assert await triggers(t) == await functions(t) == 0


async def test_the_column_of_a_dimension_may_be_overridden(t):
    await t.attach("t", {"o": {"dynamic": True, "column": "origin"}}, columns={"o": "dest"})
    logged = await t.logged("INSERT INTO t VALUES (1, 'JFK', 'BOS')")
    assert logged == [("insert", ["BOS"], None, 1)]


async def test_announcing_logs_all_existing_partitions(t):
    await t.run("INSERT INTO t SELECT i, i FROM generate_series(1, 1500) i")
    await t.attach("t", ORIGIN, announce=True)
    ((kind, partitions, rows),) = await t.rows(
        "SELECT kind, partitions, rows FROM knockon_source.changes"
    )
    assert (kind, rows) == ("insert", 1500)
    assert set(partitions) == {str(i) for i in range(1, 1501)}


async def test_announcing_an_empty_table_logs_nothing(t):
    await t.attach("t", ORIGIN, announce=True)
    assert await t.rows("SELECT * FROM knockon_source.changes") == []


async def test_names_are_quoted(source):
    dataset, origin = "it's $body$; {x} %s", "or\"ig'in {1} %s"
    quoted = '"' + origin.replace('"', '""') + '"'
    await source.run(
        'CREATE SCHEMA "Odd "" Schema"',
        f'CREATE TABLE {STRANGE} ("Id" int PRIMARY KEY, {quoted} text, b0 int, was int)',
    )
    space = {"it's": {"dynamic": True, "column": origin}, "b": {"range": 10, "column": "b0"}}
    await source.attach(STRANGE, space, dataset=dataset, announce=True)
    await source.run(
        f"INSERT INTO {STRANGE} VALUES (1, 'J''F\"K', 25, 0)",
        f"UPDATE {STRANGE} SET was = 1",
    )
    rows = await source.rows(
        "SELECT dataset, source, partitions, columns FROM knockon_source.changes ORDER BY id"
    )
    name = 'Odd " Schema.Tab.le; -- $body$ {0}'
    key = ["it's=J'F\"K/b=20-29"]
    assert rows == [(dataset, name, key, None), (dataset, name, key, ["was"])]


@pytest.mark.parametrize(
    ("table", "partitioning", "columns", "error", "message"),
    [
        ("nowhere", {}, {}, UnknownName, "no table nowhere"),
        ("a.b.c.d", {}, {}, InvalidInput, "a.b.c.d"),
        ("v", {}, {}, InvalidInput, "not an ordinary table"),
        ("t", {"day": {"time": "day"}}, {}, UnknownName, "no column 'day'"),
        ("t", {"origin": {"time": "day"}}, {}, InvalidInput, "type text"),
        ("t", {"origin": {"range": 5}}, {}, InvalidInput, "type text"),
        ("t", ORIGIN, {"dt": "at"}, InvalidPartition, "no dimension 'dt'"),
        ("t", {"origin": {"sometimes": 1}}, {}, InvalidPartition, "exactly one of"),
    ],
)
async def test_objects_that_cannot_be_attached_are_rejected(
    t, table, partitioning, columns, error, message
):
    await t.run("CREATE VIEW v AS SELECT * FROM t")
    with pytest.raises(error, match=message):
        await t.attach(table, partitioning, columns=columns)
    assert await triggers(t) == 0


async def test_attaching_does_not_block_writers_behind_a_long_transaction(t, connect):
    writer = await connect()
    await writer.execute("INSERT INTO t VALUES (1, 'JFK')")
    with pytest.raises(ServiceUnavailable, match="locked"):
        await t.attach("t", ORIGIN)
    await writer.commit()
    await t.attach("t", ORIGIN)
