"""Readers of the log: lag, removal, and return."""

from collections.abc import Awaitable, Callable

import pytest

from consumers.postgres.log import START, Position, acknowledge, read_page, trim
from consumers.postgres.readers import attached_datasets, enter, forget, state
from consumers.postgres.triggers import Tenant
from engine.errors import InvalidInput, UnknownName
from engine.model.event import Widened
from tests.integration.consumers.postgres.conftest import TENANT

WRITE = (
    "INSERT INTO knockon_source.changes (dataset, kind, changed_at)"
    " VALUES ('d', 'insert', now() - interval '1 hour')"
)
ORIGIN = {"origin": {"dynamic": True}}


@pytest.fixture
async def source(source):
    await source.run("CREATE TABLE t (id int PRIMARY KEY, origin text)")
    await source.attach("t", ORIGIN)
    await source.run("DELETE FROM knockon_source.readers")
    return source


def reader(name: str) -> Tenant:
    return Tenant(TENANT.org, name)


def at(position: Position | None) -> Callable[[], Awaitable[Position | None]]:
    async def stored() -> Position | None:
        return position

    return stored


async def read_all(source) -> Position:
    return (await read_page(source.connection, START, TENANT.org, None, 100)).position


async def remaining(source) -> int:
    return len(await source.rows("SELECT FROM knockon_source.changes"))


async def test_each_reader_has_its_own_lag(source):
    await acknowledge(source.connection, reader("slow"), START)
    await source.run(WRITE, WRITE)
    await acknowledge(source.connection, reader("fast"), await read_all(source))
    log_state = await state(source.connection)
    fast, slow = log_state.readers
    assert (fast.name, fast.rows, fast.seconds) == ("fast", 0, 0)
    assert (slow.name, slow.rows) == ("slow", 2)
    assert slow.seconds >= 3600
    assert 0 <= log_state.queue_usage < 0.1


async def test_untrimmed_changes_are_not_lag_of_a_reader_that_read_them(source, connect):
    other = await connect()
    await other.execute("SELECT pg_current_xact_id()")  # blocks trimming
    await source.run(WRITE)
    await acknowledge(source.connection, reader("one"), await read_all(source))
    assert await remaining(source) == 1
    (one,) = (await state(source.connection)).readers
    assert (one.rows, one.seconds) == (0, 0)


async def test_a_log_without_readers_has_a_state(source):
    assert (await state(source.connection)).readers == ()


async def test_a_removed_reader_does_not_prevent_trimming(source):
    await acknowledge(source.connection, reader("gone"), START)
    await source.run(WRITE, WRITE)
    await acknowledge(source.connection, reader("one"), await read_all(source))
    assert await remaining(source) == 2
    assert await forget(source.connection, "gone") == 2
    assert [each.name for each in (await state(source.connection)).readers] == ["one"]
    with pytest.raises(UnknownName, match="its readers: one"):
        await forget(source.connection, "gone")


async def test_an_active_reader_cannot_be_removed(source, connect):
    working = await connect()
    await acknowledge(source.connection, reader("one"), START)
    assert await enter(working, reader("one"), at(START)) is None
    with pytest.raises(InvalidInput, match="is active"):
        await forget(source.connection, "one")
    # The server ends a closed session later; this waits until its lock is released.
    await source.run(f"SELECT pg_terminate_backend({working.info.backend_pid}, 60000)")
    await forget(source.connection, "one")


async def test_a_source_without_a_log_has_no_readers(connect):
    connection = await connect()
    with pytest.raises(UnknownName, match="none"):
        await forget(connection, "one")


async def test_a_removed_reader_has_a_gap_until_it_acknowledges(source):
    await acknowledge(source.connection, reader("one"), START)
    await forget(source.connection, "one")
    await source.run(WRITE)
    for _ in range(2):  # a crash before the acknowledgement changes nothing
        gap = await enter(source.connection, reader("one"), at(START))
        assert gap is not None
        assert (await read_page(source.connection, gap, TENANT.org, None, 10)).changes == ()
    await acknowledge(source.connection, reader("other"), gap)
    assert await remaining(source) == 1  # nothing is deleted before the acknowledgement
    await acknowledge(source.connection, reader("one"), gap)
    assert await remaining(source) == 0
    assert await enter(source.connection, reader("one"), at(gap)) is None


async def test_a_reader_without_its_row_has_a_gap(source):
    assert await enter(source.connection, reader("new"), at(None)) is None
    assert await enter(source.connection, reader("old"), at(START)) is not None


async def test_trimming_is_batched(source, monkeypatch):
    monkeypatch.setattr("consumers.postgres.log.TRIMMED_AT_ONCE", 2)
    await source.run(WRITE, WRITE, WRITE)
    await acknowledge(source.connection, reader("one"), await read_all(source))
    assert await remaining(source) == 1
    assert [await trim(source.connection) for _ in range(2)] == [1, 0]


async def test_attached_datasets_are_listed_by_the_source(source):
    await source.attach("t", ORIGIN, dataset="it's")
    assert await attached_datasets(source.connection, TENANT.org) == ["d", "it's"]
    await source.detach("t", "d")
    assert await attached_datasets(source.connection, TENANT.org) == ["it's"]


async def test_a_returning_consumer_treats_everything_as_changed(source, ledger, running):
    async with running():
        await source.run("INSERT INTO t VALUES (1, 'JFK')")
        await ledger.until(1)
    await forget(source.connection, "postgres")
    await source.run("INSERT INTO t VALUES (2, 'JFK')", "DELETE FROM knockon_source.changes")
    async with running():
        await ledger.until(3)
        await source.run("INSERT INTO t VALUES (3, 'JFK')")
        await ledger.until(4)
    event = ledger.batches[1].received[0].event
    assert isinstance(event, Widened)
    assert (event.dataset, event.partitions, event.columns) == ("d", None, None)
    assert [len(batch.received) for batch in ledger.batches] == [1, 1, 1, 1]
    assert ledger.batches[2].received[0].event.partitions == ("JFK",)  # announced again
    async with running():
        await source.run("INSERT INTO t VALUES (4, 'JFK')")
        await ledger.until(5)
    assert len(ledger.batches) == 5
