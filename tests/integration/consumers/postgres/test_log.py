"""The log is read exactly once, in any commit order of transactions."""

from random import Random

import pytest

from consumers.postgres.log import START, Position, acknowledge, read_page, stream_name, trim
from consumers.postgres.triggers import Tenant
from tests.integration.consumers.postgres.conftest import TENANT

SLOW, FAST = Tenant(TENANT.org, "slow"), Tenant(TENANT.org, "fast")
WRITE = "INSERT INTO knockon_source.changes (dataset, kind) VALUES (%s, 'insert')"


class Reader:
    """Reads through the log like the consumer, with its position stored as text."""

    def __init__(self, source, limit=100, datasets=None):
        self._connection = source.connection
        self._limit = limit
        self._datasets = datasets
        self.position = START.to_text()

    async def page(self) -> list[int]:
        where = Position.from_text(self.position)
        page = await read_page(self._connection, where, TENANT.org, self._datasets, self._limit)
        self.position = page.position.to_text()
        self.is_last = page.is_last
        return [id_ for id_, _ in page.changes]

    async def drain(self) -> list[int]:
        found = await self.page()
        while not self.is_last:
            found += await self.page()
        return found


@pytest.fixture
async def source(source):
    await source.run("CREATE TABLE t (id int PRIMARY KEY)")
    await source.attach("t", {})
    await source.run("DELETE FROM knockon_source.readers")
    return source


async def write(source, count):
    for _ in range(count):
        await source.connection.execute(WRITE, ["d"])


async def test_an_empty_log_has_no_changes(source):
    reader = Reader(source)
    assert await reader.drain() == []
    assert reader.is_last


async def test_changes_are_read_once(source):
    reader = Reader(source)
    await write(source, 2)
    assert await reader.drain() == [1, 2]
    await write(source, 1)
    assert await reader.drain() == [3]
    assert await reader.drain() == []


@pytest.mark.parametrize("limit", [1, 100])
async def test_a_transaction_that_commits_late_is_read_exactly_once(source, connect, limit):
    early, late, reader = await connect(), await connect(), Reader(source, limit)
    await early.execute(WRITE, ["d"])
    await late.execute(WRITE, ["d"])
    await late.commit()
    assert await reader.drain() == [2]
    await write(source, 1)
    assert await reader.drain() == [3]
    await early.commit()
    assert await reader.drain() == [1]
    assert await reader.drain() == []


async def test_a_commit_between_two_pages_is_read_by_the_next_drain(source, connect):
    early, reader = await connect(), Reader(source, 2)
    await early.execute(WRITE, ["d"])
    await write(source, 3)
    assert await reader.page() == [2, 3]
    await early.commit()
    await write(source, 1)
    assert await reader.page() == [4]
    assert reader.is_last
    assert await reader.drain() == [1, 5]


async def test_an_unrelated_long_transaction_does_not_delay_readers(source, connect):
    idle, reader = await connect(), Reader(source)
    await idle.execute("SELECT pg_current_xact_id()")
    await write(source, 1)
    assert await reader.drain() == [1]
    await idle.rollback()
    await write(source, 1)
    assert await reader.drain() == [2]


async def test_rolled_back_changes_are_not_read(source, connect):
    writer, reader = await connect(), Reader(source)
    await writer.execute(WRITE, ["d"])
    assert await reader.drain() == []
    await writer.rollback()
    await write(source, 1)
    assert await reader.drain() == [2]


async def test_changes_in_savepoints_are_read_with_their_transaction(source, connect):
    writer, reader = await connect(), Reader(source)
    async with writer.transaction():
        async with writer.transaction():
            await writer.execute(WRITE, ["d"])
        async with writer.transaction(force_rollback=True):
            await writer.execute(WRITE, ["d"])
        assert await reader.drain() == []
    assert await reader.drain() == [1]


async def test_changes_of_other_datasets_are_skipped(source):
    for dataset in ("a", "b", "a"):
        await source.connection.execute(WRITE, [dataset])
    assert await Reader(source, datasets=["a"]).drain() == [1, 3]
    assert await Reader(source, datasets=[]).drain() == []


@pytest.mark.parametrize("seed", range(5))
async def test_any_interleaving_is_read_exactly_once(source, connect, seed):
    random, reader, read = Random(seed), Reader(source, 1 + seed % 3), []
    writers = [await connect() for _ in range(5)]
    open_ids: dict[int, list[int]] = {i: [] for i in range(5)}
    committed: list[int] = []

    async def step(i):
        match random.choice(["write", "write", "write", "commit", "commit", "roll back", "read"]):
            case "write":
                cursor = await writers[i].execute(WRITE + " RETURNING id", ["d"])
                open_ids[i] += [(await cursor.fetchone())[0]]
            case "commit":
                await writers[i].commit()
                committed.extend(open_ids[i])
                open_ids[i] = []
            case "roll back":
                await writers[i].rollback()
                open_ids[i] = []
            case "read":
                read.extend(await reader.page())

    for _ in range(150):
        await step(random.randrange(5))
    read += await reader.drain()
    read += await reader.drain()  # the first may have ended pages begun earlier
    assert sorted(read) == sorted(committed)


async def test_trimming_keeps_changes_that_a_reader_has_not_read(source):
    fast, slow = Reader(source), Reader(source)
    await acknowledge(source.connection, SLOW, Position.from_text(slow.position))
    await write(source, 2)
    await fast.drain()
    await acknowledge(source.connection, FAST, Position.from_text(fast.position))
    assert await slow.drain() == [1, 2]
    await acknowledge(source.connection, SLOW, Position.from_text(slow.position))
    assert await source.rows("SELECT id FROM knockon_source.changes") == []


async def test_trimming_keeps_changes_of_open_transactions(source, connect):
    writer, reader = await connect(), Reader(source)
    await writer.execute(WRITE, ["d"])
    await write(source, 1)
    await reader.drain()
    await acknowledge(source.connection, TENANT, Position.from_text(reader.position))
    await writer.commit()
    assert await reader.drain() == [1]
    await acknowledge(source.connection, TENANT, Position.from_text(reader.position))
    assert await source.rows("SELECT id FROM knockon_source.changes") == []


async def test_without_a_reader_nothing_is_trimmed(source):
    await write(source, 1)
    assert await trim(source.connection) == 0


async def test_a_stream_is_named_after_cluster_timeline_and_database(source):
    kind, cluster, timeline, database = (await stream_name(source.connection)).split("/")
    assert kind == "postgres"
    assert cluster.isdigit()
    assert timeline == "1"
    assert database == source.connection.info.dbname


async def test_a_reader_needs_few_privileges(source):
    await write(source, 1)
    async with source.connection.transaction(force_rollback=True):  # of the role as well
        await source.run(
            "CREATE ROLE reader",
            "GRANT USAGE ON SCHEMA knockon_source TO reader",
            "GRANT SELECT, DELETE ON knockon_source.changes TO reader",
            "GRANT SELECT, INSERT, UPDATE ON knockon_source.readers TO reader",
            "SET LOCAL ROLE reader",
        )
        reader = Reader(source)
        assert await stream_name(source.connection)
        assert await reader.drain() == [1]
        await acknowledge(source.connection, TENANT, Position.from_text(reader.position))


async def test_a_drain_scans_the_index_only_from_its_position(source):
    await source.run(
        "INSERT INTO knockon_source.changes (dataset, kind)"
        " SELECT 'd', 'insert' FROM generate_series(1, 20000)",
        "ANALYZE knockon_source.changes",
    )
    reader = Reader(source, 30_000)
    await reader.drain()
    await write(source, 1)
    await source.run("SELECT pg_stat_force_next_flush()")
    before = await tuples_read(source)
    assert len(await reader.drain()) == 1
    await source.run("SELECT pg_stat_force_next_flush()")
    assert await tuples_read(source) - before < 100


async def tuples_read(source) -> int:
    (row,) = await source.rows(
        "SELECT seq_tup_read + idx_tup_fetch AS n FROM pg_stat_user_tables"
        " WHERE relid = 'knockon_source.changes'::regclass"
    )
    return row.n
