"""From a commit in a source database to Knockon's ingest, through every kind of interruption."""

import asyncio

import msgspec
import psycopg
import pytest

from consumers.postgres import listener
from consumers.postgres.attach import attach
from consumers.postgres.log import stream_name
from engine.model.event import SourceEvent
from engine.monitor.pulse import pulses
from tests.integration.consumers.postgres.conftest import TENANT
from tests.support.proxy import proxy_to

FLIGHTS = "CREATE TABLE flights (id int PRIMARY KEY, origin text, delay int)"
ORIGIN = {"origin": {"dynamic": True}}


def insert(i: int) -> str:
    return f"INSERT INTO flights VALUES ({i}, 'JFK', 0)"


@pytest.fixture
async def flights(source):
    await source.run(FLIGHTS)
    await source.attach("flights", ORIGIN, dataset="flights")
    return source


async def cut_off(source) -> None:
    """End the consumer's session, like a restart of the source."""
    await source.run(
        "SELECT pg_terminate_backend(pid, 5000) FROM pg_stat_activity"
        " WHERE application_name = 'knockon' AND datname = current_database()"
    )


async def test_a_change_is_ingested_as_an_event(flights, ledger, running):
    async with running():
        await flights.run(insert(1))
        await ledger.until(1)
        await flights.run("UPDATE flights SET delay = 5")
        await ledger.until(2)
    stream = await stream_name(flights.connection)
    event = ledger.batches[1].received[0].event
    assert event == SourceEvent(
        dataset="flights",
        partitions=("JFK",),
        columns=("delay",),
        reason="change",
        id=f"pg:{stream}:2",
        time=event.time,
        source="public.flights",
        note="update",
    )
    received = ledger.batches[1].received[0]
    (delivery,) = received.deliveries
    assert (delivery.stream, delivery.position) == (stream, "2")
    assert msgspec.json.decode(delivery.value or b"", type=SourceEvent) == event


async def test_changes_written_before_the_start_are_ingested(flights, ledger, running):
    await flights.run(insert(1), insert(2))
    async with running():
        assert await ledger.until(2) == ["1", "2"]


async def test_polling_finds_changes_without_a_notification(flights, ledger, running):
    silent = "INSERT INTO knockon_source.changes (dataset, kind) VALUES ('flights', 'insert')"
    async with running(poll_seconds=0.01):
        await flights.run(insert(1))
        await ledger.until(1)
        await flights.run(silent)
        assert await ledger.until(2) == ["1", "2"]


async def test_a_long_backlog_is_ingested_in_pages(flights, ledger, running, monkeypatch):
    monkeypatch.setattr(listener, "PAGE", 4)
    await flights.run(*(insert(i) for i in range(10)))
    async with running():
        assert await ledger.until(10) == [str(i) for i in range(1, 11)]
    assert [len(batch.received) for batch in ledger.batches] == [4, 4, 2]


async def test_a_restart_resumes_within_a_page(flights, ledger, running, monkeypatch):
    monkeypatch.setattr(listener, "PAGE", 4)
    await flights.run(*(insert(i) for i in range(10)))
    failing = asyncio.Event()

    async def fail(batch):
        if len(ledger.batches) == 1:
            failing.set()
            raise psycopg.OperationalError("Knockon's database is away")

    ledger.before = fail
    async with running():
        await failing.wait()
    ledger.before = None
    async with running():
        assert await ledger.until(10) == [str(i) for i in range(1, 11)]


async def test_a_poll_without_changes_writes_nothing(flights, ledger, running):
    await flights.run(insert(1))
    async with running():
        await ledger.until(1)
    before = await ledger.positions()
    await flights.run("CREATE TABLE other (id int)", "INSERT INTO other VALUES (1)")
    async with running():
        await flights.run(insert(2))
        await ledger.until(2)
    (advance,) = ledger.batches[-1].advances
    assert {advance.stream: advance.before} == before
    assert len(ledger.batches) == 2


async def test_ingested_changes_are_trimmed(flights, ledger, running):
    async with running():
        for i in range(3):
            await flights.run(insert(i))
            await ledger.until(i + 1)
    await flights.run(insert(3))
    async with running():
        await ledger.until(4)
    assert await flights.rows("SELECT id FROM knockon_source.changes") == []


async def test_invalid_rows_in_the_log_are_rejected_and_do_not_stop_the_consumer(
    flights, ledger, running
):
    await flights.run(
        "ALTER TABLE knockon_source.changes DROP CONSTRAINT changes_kind_check",
        "INSERT INTO knockon_source.changes (dataset, kind, partitions, columns) VALUES"
        " ('', 'insert', NULL, NULL), ('flights', 'explode', NULL, NULL),"
        " ('flights', 'insert', '{}', NULL), ('flights', 'insert', '{JFK,NULL}', NULL),"
        " ('flights', 'insert', '{{JFK}}', NULL), ('flights', 'insert', NULL, '{}')",
        insert(1),
    )
    async with running():
        assert await ledger.until(1, rejections=6) == ["7"]
    rejections = ledger.batches[0].rejections
    assert [rejection.position for rejection in rejections] == ["1", "2", "3", "4", "5", "6"]
    assert "explode" in (rejections[1].payload or b"").decode()
    assert "partitions" in rejections[2].error


async def test_a_killed_session_catches_up(flights, ledger, running):
    async with running():
        await flights.run(insert(1))
        await ledger.until(1)
        await cut_off(flights)
        await flights.run(insert(2), insert(3))
        assert await ledger.until(3) == ["1", "2", "3"]


async def test_a_silently_dead_connection_is_replaced(flights, ledger, running):
    async with (
        proxy_to(flights.url) as proxy,
        running(source_url=proxy.url, heartbeat_seconds=0.2),
    ):
        for i in range(1, 4):
            await flights.run(insert(i))
            await ledger.until(i)
            proxy.go_dead()
        await flights.run(insert(4))
        assert await ledger.until(4) == ["1", "2", "3", "4"]


async def test_the_pulse_reports_when_the_source_is_read(flights, ledger, running):
    lacks = []
    positions = ledger.positions

    async def look(*_):
        lacks.extend(pulse.waits_for for pulse in pulses())
        return await positions()

    ledger.positions = ledger.before = look
    async with running():
        await flights.run(insert(1))
        await ledger.until(1)
    assert list(dict.fromkeys(lacks)) == ["does not read the source's change log", None]
    assert pulses() == ()


async def test_an_outage_of_the_knockon_database_loses_nothing(flights, ledger, running):
    failures = 0

    async def fail_twice(batch):
        nonlocal failures
        failures += 1
        if failures <= 2:
            raise psycopg.OperationalError("Knockon's database is away")

    ledger.before = fail_twice
    async with running():
        await flights.run(insert(1))
        assert await ledger.until(1) == ["1"]
    assert failures == 3


async def test_a_commit_with_a_lost_reply_is_not_repeated(flights, ledger, running):
    async def lose_the_reply(batch):
        ledger.after = None
        raise psycopg.OperationalError("the connection broke")

    ledger.after = lose_the_reply
    async with running():
        await flights.run(insert(1))
        await ledger.until(1)
        await flights.run(insert(2))
        assert await ledger.until(2) == ["1", "2"]


async def test_two_consumers_with_one_name_ingest_each_change_once(flights, ledger, running):
    async with running(), running():
        for i in range(20):
            await flights.run(insert(i))
        assert sorted(await ledger.until(20), key=int) == [str(i) for i in range(1, 21)]
    async with running():
        await flights.run(insert(99))
        assert len(await ledger.until(21)) == 21


async def test_a_source_may_be_attached_after_the_start(source, ledger, running):
    async with running():
        await source.run(FLIGHTS)
        await source.attach("flights", ORIGIN)
        await source.run(insert(1))
        assert await ledger.until(1) == ["1"]


async def test_the_source_may_be_the_knockon_database(database_url, ledger, running):
    async with await psycopg.AsyncConnection.connect(database_url, autocommit=True) as connection:
        await connection.execute(FLIGHTS)
        await attach(connection, TENANT, "flights", "flights", ORIGIN)
        async with running(source_url=database_url):
            await connection.execute("INSERT INTO flights VALUES (1, 'JFK', 0)")
            assert await ledger.until(1) == ["1"]


async def test_changes_without_an_org_are_ingested_for_datasets_of_the_org(
    flights, ledger, running
):
    legacy = "INSERT INTO knockon_source.changes (dataset, kind) VALUES ('{}', 'insert')"
    async with running(datasets={"flights"}):
        await flights.run(legacy.format("others"), legacy.format("flights"), insert(1))
        await ledger.until(2)
    assert {each.event.dataset for batch in ledger.batches for each in batch.received} == {
        "flights"
    }


async def test_a_consumer_stops_while_the_source_is_unavailable(ledger, running):
    async with running(source_url="host=/nowhere dbname=none"):
        pass


async def test_no_transaction_stays_open_while_ingesting(flights, ledger, running):
    await flights.run(insert(1))
    states = []

    async def look(batch):
        states.extend(
            await flights.rows(
                "SELECT state, xact_start FROM pg_stat_activity"
                " WHERE application_name = 'knockon' AND datname = current_database()"
            )
        )

    ledger.before = look
    async with running():
        await ledger.until(1)
    assert states == [("idle", None)]


async def test_any_error_is_retried(flights, ledger, running):
    """An unforeseen error must not end the other consumers of the process."""
    failures = [ValueError("unforeseen"), KeyError("k")]

    async def fail(batch):
        if failures:
            raise failures.pop()

    ledger.before = fail
    async with running():
        await flights.run(insert(1))
        assert await ledger.until(1) == ["1"]
    assert failures == []
