"""All consumers of an org: reading every source of the deployed DAGs, following deploys."""

import asyncio
from collections.abc import AsyncIterator, Awaitable, Callable
from contextlib import asynccontextmanager
from functools import partial
from typing import Any

import msgspec
import pytest
import structlog
from aiokafka import AIOKafkaConsumer
from prometheus_client import REGISTRY

from consumers.postgres.attach import attach
from consumers.postgres.triggers import Tenant
from consumers.run import Consumers, SourceConnections
from consumers.sources import load_sources
from engine.embedded.broker import Broker
from engine.flow.deployment.auto_register import auto_register
from engine.loops.notification_listener import NotificationListener
from engine.monitor.pulse import pulses
from engine.partitions import PartitionSpace
from engine.store.database import Database
from engine.store.notifications import INVALIDATIONS
from engine.store.orgs import set_setting
from tests.support.kafka import PATIENCE_SECONDS, topic_on
from tests.support.worlds import DAILY, World, job, source

DAY = "2013-02-13"


def kafka(name: str, topic: str, **more: Any) -> dict[str, Any]:
    return source(name, source={"kind": "kafka", "topic": topic, "dataset": name} | more)


def table(name: str) -> dict[str, Any]:
    return source(name, source={"kind": "postgres", "table": f"public.{name}"})


def tenant(world: World) -> Tenant:
    return Tenant(str(world.org.id), "knockon.test")


@asynccontextmanager
async def consuming(
    world: World, bootstrap_servers: str | None, options: dict[str, int] | None = None
) -> AsyncIterator[Callable[[str], Awaitable[None]]]:
    """Run the consumers; yields a wait for an invalidation of a dataset."""
    connections = SourceConnections(
        name="knockon.test",
        source_url=world.database.url,
        bootstrap_servers=bootstrap_servers,
        client=options or {},
    )
    consumers = Consumers(world.database, world.org, connections)
    listener, stop = NotificationListener(world.database, [INVALIDATIONS]), asyncio.Event()

    async def heard(dataset: str) -> None:
        count = """SELECT count(*) AS n FROM data_invalidations i
                   JOIN datasets d ON d.id = i.dataset_uuid
                   WHERE d.name = %s AND i.reason IN ('change', 'arrival')"""
        async with asyncio.timeout(PATIENCE_SECONDS):
            while not (await world.rows(count, dataset))[0]["n"]:
                await listener.wait(1.0)

    async with asyncio.TaskGroup() as group:
        group.create_task(listener.run(stop))
        group.create_task(consumers.run(stop))
        try:
            yield heard
        finally:
            stop.set()


async def test_topics_and_tables_are_consumed_together(database: Database, broker: Broker) -> None:
    async with topic_on(broker) as topic:
        world = await World.made(
            database, kafka("a", topic.name), table("t"), job("b", "a"), job("c", "t")
        )
        async with world.conn() as conn:
            await conn.execute("CREATE TABLE t (id int PRIMARY KEY, dt date)")
            await attach(conn, tenant(world), "t", "t", DAILY)
            await conn.execute("INSERT INTO t VALUES (1, '2013-02-13')")
        await topic.send_bytes(f'{{"partitions": ["{DAY}"]}}'.encode())
        async with consuming(world, broker.bootstrap_servers, broker.consumer_options) as heard:
            await heard("a")
            await heard("t")


async def test_a_deploy_with_another_topic_takes_effect(database: Database, broker: Broker) -> None:
    async with topic_on(broker) as first, topic_on(broker) as second:
        world = await World.made(database, kafka("a", first.name), job("b", "a"))
        async with consuming(world, broker.bootstrap_servers, broker.consumer_options) as heard:
            await first.send_bytes(b"{}")
            await heard("a")
            await world.deploy(kafka("a", first.name), kafka("z", second.name), job("b", "a", "z"))
            await second.send_bytes(b"{}")
            await heard("z")


async def test_messages_after_a_deploy_use_the_new_partitioning(
    database: Database, broker: Broker, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Including messages read before the consumers have checked for changed sources."""
    monkeypatch.setattr("consumers.run._REFRESH_SECONDS", 3600.0)

    def cut(grain: str, topic: str) -> dict[str, Any]:
        spec = {"kind": "kafka", "topic": topic, "format": "record", "partition": {"dt": "day"}}
        return source("a", {"dt": {"time": grain}}, source=spec)

    def read(grain: str) -> dict[str, Any]:
        return job("b", "a", partitioning={"dt": {"time": grain}})

    async with topic_on(broker) as topic:
        world = await World.made(database, cut("day", topic.name), read("day"))
        async with consuming(world, broker.bootstrap_servers, broker.consumer_options) as heard:
            await topic.send_bytes(b'{"day": "2013-02-13"}')
            await heard("a")
            await world.deploy(cut("month", topic.name), read("month"))
            await topic.send_bytes(b'{"day": "2013-03-14"}')
            keys = """SELECT partition_key FROM data_invalidations
                      WHERE source_event ->> 'last' = '1'"""
            async with asyncio.timeout(PATIENCE_SECONDS):
                while not (found := await world.rows(keys)):  # noqa: ASYNC110 as above, by key
                    await asyncio.sleep(0.1)

    assert [row["partition_key"] for row in found] == ["2013-03"]
    assert await world.rows("SELECT error FROM dead_letters") == []


async def test_events_of_a_shared_topic_name_their_datasets(
    database: Database, broker: Broker
) -> None:
    async with topic_on(broker) as topic:
        world = await World.made(
            database,
            kafka("a", topic.name),
            kafka("z", topic.name),
            job("b", "a", "z"),
        )
        async with consuming(world, broker.bootstrap_servers, broker.consumer_options) as heard:
            await topic.send_bytes(b'[{"dataset": "z"}, {"dataset": "a"}]')
            await heard("a")
            await heard("z")


async def test_a_source_may_name_its_dead_letter_topic(database: Database, broker: Broker) -> None:
    async with topic_on(broker) as topic, topic_on(broker) as letters:
        world = await World.made(
            database, kafka("a", topic.name, dead_letters=letters.name), job("b", "a")
        )
        async with consuming(world, broker.bootstrap_servers, broker.consumer_options) as heard:
            await topic.send_bytes(b"rubbish")
            await topic.send_bytes(b"{}")
            await heard("a")
        client = AIOKafkaConsumer(letters.name, **broker.connection, auto_offset_reset="earliest")
        async with client, asyncio.timeout(PATIENCE_SECONDS):
            assert (await client.getone()).value == b"rubbish"


async def test_a_dataset_is_registered_at_its_first_event(
    database: Database, broker: Broker
) -> None:
    rule = {"dag": "found", "name": "shop.{table}", "dataset": "shop_{table}"}
    options = {"format": "openlineage", "dataset": None, "namespace": "db", "discover": rule}
    async with topic_on(broker) as topic:
        world = await World.made(database, kafka("a", topic.name, **options), job("b", "a"))
        async with consuming(world, broker.bootstrap_servers, broker.consumer_options) as heard:
            for table in ("users", "visits"):
                outputs = [{"namespace": "db", "name": f"shop.{table}"}]
                run = {"runId": "01941f29-7c00-7087-8906-40e512c257bd"}
                event = {"eventType": "COMPLETE", "run": run, "outputs": outputs}
                await topic.send_bytes(msgspec.json.encode(event))
                await heard(f"shop_{table}")


async def test_a_topic_whose_sources_disagree_on_dead_letters_is_not_read(
    database: Database,
) -> None:
    world = await World.made(
        database, kafka("a", "t", dead_letters="x"), kafka("z", "t"), job("b", "a", "z")
    )
    async with world.conn() as conn:
        sources = await load_sources(conn, world.org)
    with structlog.testing.capture_logs() as logs:
        assert sources.readers(partial(auto_register, conn, world.org)) == {}
    assert [entry["topic"] for entry in logs] == ["t"]


async def test_a_table_attached_later_is_consumed(database: Database) -> None:
    world = await World.made(database, table("t"), job("c", "t"))
    async with consuming(world, None) as heard:
        async with world.conn() as conn:
            await conn.execute("CREATE TABLE t (id int PRIMARY KEY, dt date)")
            await conn.execute("INSERT INTO t VALUES (1, '2013-02-13')")
            await attach(conn, tenant(world), "t", "t", DAILY, announce=True)
        await heard("t")


async def test_topics_are_not_consumed_without_a_broker(
    database: Database, caplog: pytest.LogCaptureFixture
) -> None:
    world = await World.made(database, kafka("a", "nowhere"), table("t"), job("b", "a", "t"))
    async with world.conn() as conn:
        await conn.execute("CREATE TABLE t (id int PRIMARY KEY, dt date)")
        await attach(conn, tenant(world), "t", "t", DAILY)
        await conn.execute("INSERT INTO t VALUES (1, '2013-02-13')")
    async with consuming(world, None) as heard:
        await heard("t")


def _told(name: str, **labels: str) -> float | None:
    return REGISTRY.get_sample_value(name, labels)


def _rejected(topic: str) -> float | None:
    return _told("knockon_events_rejected_total", transport="kafka", topic=topic)


def _lag(topic: str) -> float | None:
    where = {"consumer": "knockon.test", "topic": topic, "partition": "0"}
    return _told("knockon_kafka_lag_messages", **where)


async def test_ingested_events_are_counted(database: Database, broker: Broker) -> None:
    async with topic_on(broker) as topic:
        world = await World.made(database, kafka("a", topic.name), job("b", "a"))
        where = {"transport": "kafka", "topic": topic.name}
        written = _told("knockon_invalidations_written_total", transport="kafka") or 0
        async with consuming(world, broker.bootstrap_servers, broker.consumer_options) as heard:
            for message in (b"{}", b'{"partitions": ["2013-02-14"]}', b"rubbish"):
                await topic.send_bytes(message)
            await heard("a")
            async with asyncio.timeout(PATIENCE_SECONDS):
                # a metric has no signal
                while _rejected(topic.name) != 1 or _lag(topic.name) != 0:  # noqa: ASYNC110
                    await asyncio.sleep(0.01)
            assert _told("knockon_events_received_total", **where) == 2
            assert (_told("knockon_invalidations_written_total", transport="kafka") or 0) > written
            assert [loop.waits_for for loop in pulses() if loop.name == "kafka"] == [None]
        assert _lag(topic.name) is None


async def test_a_quota_slows_the_consumer_and_loses_nothing(
    database: Database, monkeypatch: pytest.MonkeyPatch
) -> None:
    """By the sizes of batches and the waits between them, without waiting."""
    waits: list[float] = []
    sizes: list[int] = []

    async def pause(_: asyncio.Event, seconds: float) -> None:
        waits.append(seconds)

    def report(batch: Any, *_: Any) -> None:
        sizes.append(sum(received.count for received in batch.received))

    monkeypatch.setattr("consumers.run.pause", pause)
    monkeypatch.setattr("consumers.run.report", report)
    world = await World.made(database, table("t"), table("last"), job("c", "t"))
    async with world.conn() as conn:
        await set_setting(conn, world.org.id, "events_per_second", 2)
        for name in ("t", "last"):
            await conn.execute(f"CREATE TABLE {name} (id int PRIMARY KEY, dt date)".encode())
            await attach(conn, tenant(world), name, name, DAILY)
        for n in range(35):
            await conn.execute(b"INSERT INTO t VALUES (%s, date '2013-02-01' + %s)", [n, n])
        await conn.execute(b"INSERT INTO last VALUES (1, '2013-02-13')")
    async with consuming(world, None) as heard:
        await heard("last")
    assert max(sizes) <= 10, "five seconds of events"
    assert sum(sizes) >= 35
    assert len(waits) >= sum(size > 0 for size in sizes) - 1
    # Nothing was waited for, so that the debt of all events is left.
    assert waits[-1] > (sum(sizes) - 10) / 2 - 10
    rows = await world.rows(
        "SELECT i.partition_key FROM data_invalidations i JOIN datasets d ON d.id = i.dataset_uuid "
        "WHERE d.name = 't' AND i.reason IN ('change', 'arrival')"
    )
    space = PartitionSpace.from_spec(DAILY)
    keys = {key for row in rows for key in space.keys(space.parse(row["partition_key"]))}
    assert len(keys) == 35
