"""Tables altered under Knockon are detected at the next heartbeat and attached again."""

import asyncio
from collections.abc import Awaitable, Callable

import pytest

from consumers.postgres.drift_monitor import find_drifted
from engine.model.event import Widened
from engine.service.checks.attachments import check_attachments
from tests.integration.consumers.postgres.conftest import PATIENCE_SECONDS, TENANT, Source

ORIGIN = {"origin": {"dynamic": True}}
TABLE = "CREATE TABLE t (id int PRIMARY KEY, origin text, v int)"


async def drift(source: Source) -> list[tuple[str, ...]]:
    return [drifted.drift.reasons for drifted in await find_drifted(source.connection, TENANT.org)]


@pytest.fixture
async def t(source: Source) -> Source:
    await source.run(TABLE)
    await source.attach("t", ORIGIN)
    await source.run("INSERT INTO t VALUES (1, 'JFK', 1)")
    assert await drift(source) == []
    return source


@pytest.fixture
def repaired(ledger, running) -> Callable[..., Awaitable[list[tuple[bool, object, object]]]]:
    """Change the table under a running consumer; returns the changes until the change of `last`."""

    async def repaired(
        source: Source, *statements: str, last: str
    ) -> list[tuple[bool, object, object]]:
        async with running(heartbeat_seconds=0.05, poll_seconds=0.05):
            await ledger.until(1)
            await source.run(*statements)
            async with asyncio.timeout(PATIENCE_SECONDS):
                while await drift(source):  # noqa: ASYNC110 the repair has no signal
                    await asyncio.sleep(0.01)
            await source.run(last)
            events = [received.event for batch in ledger.batches for received in batch.received]
            async with asyncio.timeout(PATIENCE_SECONDS):
                while not any(event.partitions == ("LAST",) for event in events):
                    await asyncio.sleep(0.01)
                    events = [e.event for batch in ledger.batches for e in batch.received]
        return [(isinstance(e, Widened), e.partitions, e.columns) for e in events][1:-1]

    return repaired


LAST = "INSERT INTO t VALUES (99, 'LAST', 1)"


@pytest.mark.parametrize(
    "statements",
    [
        pytest.param(
            ["CREATE TABLE t_new (LIKE t INCLUDING ALL)",
             "INSERT INTO t_new SELECT id, 'BOS', v FROM t",
             "BEGIN; ALTER TABLE t RENAME TO t_old; ALTER TABLE t_new RENAME TO t; COMMIT"],
            id="swapped"),
        pytest.param(["BEGIN; DROP TABLE t", TABLE, "INSERT INTO t VALUES (2, 'BOS', 1); COMMIT"],
                     id="recreated"),
        pytest.param(["ALTER TABLE t DISABLE TRIGGER ALL", "INSERT INTO t VALUES (2, 'BOS', 1)",
                      "ALTER TABLE t ENABLE TRIGGER ALL"], id="restored"),
        pytest.param(["DO $$ BEGIN EXECUTE (SELECT string_agg("
                      "format('DROP TRIGGER %I ON t', tgname), ';') FROM pg_trigger"
                      " WHERE tgrelid = 't'::regclass); END $$",
                      "INSERT INTO t VALUES (2, 'BOS', 1)"], id="triggers dropped"),
        pytest.param(["DO $$ DECLARE n text; BEGIN FOR n IN SELECT tgname FROM pg_trigger"
                      " WHERE tgrelid = 't'::regclass LOOP"
                      " EXECUTE format('ALTER TABLE t DISABLE TRIGGER %I', n);"
                      " INSERT INTO t VALUES ((SELECT max(id) + 1 FROM t), 'BOS', 1);"
                      " EXECUTE format('ALTER TABLE t ENABLE ALWAYS TRIGGER %I', n);"
                      " END LOOP; END $$"],
                     id="disabled for a moment"),
        pytest.param(["ALTER TABLE t ALTER COLUMN origin TYPE varchar USING 'BOS'"],
                     id="partition column retyped"),
    ],
)  # fmt: skip
async def test_a_repaired_capture_counts_as_a_change_of_everything(t, repaired, statements):
    events = await repaired(t, *statements, last=LAST)
    assert (True, None, None) in events
    assert any("BOS" in (partitions or ()) for _, partitions, _ in events)


async def test_writes_of_a_replica_are_captured_after_a_restore(t, repaired):
    events = await repaired(
        t,
        "ALTER TABLE t DISABLE TRIGGER ALL",
        "ALTER TABLE t ENABLE TRIGGER ALL",
        last=f"SET session_replication_role = replica; {LAST}; RESET session_replication_role",
    )
    assert events[0] == (True, None, None)


async def test_the_old_table_of_a_swap_is_no_longer_captured(t, repaired):
    await repaired(
        t,
        "CREATE TABLE t_new (LIKE t INCLUDING ALL)",
        "BEGIN; ALTER TABLE t RENAME TO t_old; ALTER TABLE t_new RENAME TO t; COMMIT",
        last=LAST,
    )
    assert await t.logged("INSERT INTO t_old VALUES (7, 'OLD', 1)") == []


@pytest.mark.parametrize(
    ("statement", "columns"),
    [
        ("ALTER TABLE t ALTER COLUMN v TYPE bigint USING v * 10", ("v",)),
        ("ALTER TABLE t ADD COLUMN w int DEFAULT 7", ("w",)),
        ("ALTER TABLE t RENAME COLUMN v TO w", ("v", "w")),
        ("ALTER TABLE t DROP COLUMN v", ("v",)),
        ("ALTER TABLE t ALTER COLUMN v TYPE numeric(3) USING v / 10", ("v",)),
    ],
)
async def test_an_altered_column_counts_as_changed_alone(t, repaired, statement, columns):
    events = await repaired(t, statement, last="INSERT INTO t (id, origin) VALUES (99, 'LAST')")
    assert events == [(True, None, columns)]


async def test_an_expression_of_a_generated_column_may_change(source, repaired):
    if source.connection.info.server_version < 180000:
        pytest.skip("virtual columns come with PostgreSQL 18")
    await source.run(
        "CREATE TABLE t (id int PRIMARY KEY, origin text, v int,"
        " w int GENERATED ALWAYS AS (v * 2) VIRTUAL)"
    )
    await source.attach("t", ORIGIN)
    await source.run("INSERT INTO t VALUES (1, 'JFK', 1)")
    events = await repaired(
        source, "ALTER TABLE t ALTER COLUMN w SET EXPRESSION AS (v * 3)", last=LAST
    )
    assert events == [(True, None, ("w",))]


@pytest.fixture
async def parted(source: Source) -> Source:
    await source.run(
        "CREATE TABLE t (id int, origin text, v int) PARTITION BY RANGE (id)",
        "CREATE TABLE t_0 PARTITION OF t FOR VALUES FROM (0) TO (10)",
        "CREATE TABLE t_1 PARTITION OF t FOR VALUES FROM (10) TO (20)",
        "CREATE TABLE t_9 PARTITION OF t FOR VALUES FROM (90) TO (100)",
    )
    await source.attach("t", ORIGIN)
    await source.run("INSERT INTO t VALUES (1, 'JFK', 1)")
    return source


@pytest.mark.parametrize(
    ("statement", "logged"),
    [
        ("INSERT INTO t_0 VALUES (2, 'BOS', 1)", ("insert", ["BOS"], None, 1)),
        ("UPDATE t_0 SET v = 2", ("update", ["JFK"], None, 2)),
        ("DELETE FROM t_0", ("delete", ["JFK"], None, 1)),
        ("TRUNCATE t_0", ("truncate", None, None, None)),
        ("INSERT INTO t VALUES (2, 'BOS', 1)", ("insert", ["BOS"], None, 1)),
    ],
)
async def test_writes_to_a_partition_by_its_own_name_are_captured(parted, statement, logged):
    assert await parted.logged(statement) == [logged]


async def test_a_new_partition_is_announced_alone_and_captured(parted, repaired):
    events = await repaired(
        parted,
        "CREATE TABLE t_2 (LIKE t)",
        "INSERT INTO t_2 VALUES (21, 'BOS', 1)",
        "ALTER TABLE t ATTACH PARTITION t_2 FOR VALUES FROM (20) TO (30)",
        last="INSERT INTO t_2 VALUES (22, 'LAST', 1)",
    )
    assert events == [(False, ("BOS",), None)]


async def test_an_empty_partition_is_not_a_change(parted, repaired):
    events = await repaired(
        parted, "CREATE TABLE t_2 PARTITION OF t FOR VALUES FROM (20) TO (30)", last=LAST
    )
    assert events == []


@pytest.mark.parametrize("statement", ["ALTER TABLE t DETACH PARTITION t_0", "DROP TABLE t_0"])
async def test_a_removed_partition_counts_as_a_change_of_everything(parted, repaired, statement):
    events = await repaired(parted, statement, last=LAST)
    assert events[0] == (True, None, None)


async def test_a_renamed_table_is_reported_and_still_captured(t, ledger, running):
    async with running(heartbeat_seconds=0.05, poll_seconds=0.05):
        await ledger.until(1)
        await t.run("ALTER TABLE t RENAME TO u", "INSERT INTO u VALUES (2, 'LAST', 1)")
        await ledger.until(2)
    assert await drift(t) == [("was renamed to public.u",)]
    assert [len(batch.received) for batch in ledger.batches] == [1, 1]


async def test_a_dropped_table_counts_as_changed_once(t, ledger, running):
    async with running(heartbeat_seconds=0.05, poll_seconds=0.05):
        await ledger.until(1)
        await t.run("DROP TABLE t")
        await ledger.until(2)
    async with running(heartbeat_seconds=0.05, poll_seconds=0.05):
        await t.run("CREATE TABLE u (id int PRIMARY KEY, origin text)")
        await t.attach("u", ORIGIN, dataset="u")
        await t.run("INSERT INTO u VALUES (1, 'JFK')")
        await ledger.until(3)
    received = [received for batch in ledger.batches for received in batch.received]
    assert [item.event.dataset for item in received] == ["d", "d", "u"]
    assert await drift(t) == [("was dropped",)]
    await t.detach("public.t", "d")
    assert await drift(t) == []


async def test_attaching_again_by_hand_counts_as_a_change_of_everything(t):
    await t.run("ALTER TABLE t DISABLE TRIGGER ALL", "DELETE FROM t")
    await t.run("DELETE FROM knockon_source.changes")
    await t.attach("t", ORIGIN)
    rows = await t.rows("SELECT kind, partitions, columns FROM knockon_source.changes")
    assert rows == [("altered", None, None)]
    assert await drift(t) == []


@pytest.mark.parametrize("columns", [831, 1590])
@pytest.mark.parametrize("key", ["PRIMARY KEY", ""])
async def test_a_table_may_have_any_number_of_columns(source, columns, key):
    listed = ", ".join(f"c{n} bool" for n in range(columns))
    await source.run(f"CREATE TABLE t (id int {key}, origin text, {listed})")
    await source.attach("t", ORIGIN)
    await source.run("INSERT INTO t VALUES (1, 'JFK'), (2, 'BOS')")
    rows = 1 if key else 2
    logged = await source.logged("UPDATE t SET c7 = true WHERE id = 1", "UPDATE t SET c7 = c7")
    assert logged == [("update", ["JFK"], None, rows)]


async def test_a_virtual_column_cannot_be_a_dimension(source):
    if source.connection.info.server_version < 180000:
        pytest.skip("virtual columns come with PostgreSQL 18")
    await source.run("CREATE TABLE t (id int, origin text GENERATED ALWAYS AS ('x') VIRTUAL)")
    with pytest.raises(Exception, match="virtual generated column"):
        await source.attach("t", ORIGIN)


async def verdict(source: Source) -> tuple[str, str]:
    check = await check_attachments(source.connection, TENANT.org, {"public.t": "d"})
    return check.verdict, check.detail


async def test_doctor_passes_only_while_everything_is_attached(t):
    assert await verdict(t) == ("ok", "public.t attached")
    await t.run("ALTER TABLE t DISABLE TRIGGER ALL")
    assert (await verdict(t))[0] == "fail"
    await t.attach("t", ORIGIN)
    assert (await verdict(t))[0] == "ok"
    await t.run("ALTER TABLE t RENAME TO u")
    assert await verdict(t) == ("fail", "public.t (d) was renamed to public.u")
    await t.detach("u", "d")
    assert await verdict(t) == ("warn", "not attached: public.t")
    await t.run("DROP TABLE knockon_source.attachments")
    assert await verdict(t) == ("fail", "the change log is of an earlier version")
