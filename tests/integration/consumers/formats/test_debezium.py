"""Debezium's messages on a topic become invalidations, according to a deployed DAG file."""

import asyncio
from typing import Any

from consumers.run import Consumers, SourceConnections
from engine.embedded.broker import Broker
from engine.loops.notification_listener import NotificationListener
from engine.store.database import Database
from engine.store.notifications import INVALIDATIONS
from tests.support.debezium.messages import messages
from tests.support.kafka import PATIENCE_SECONDS, topic_on
from tests.support.worlds import World, job, source

STORED = """SELECT i.partition_key, i.columns, i.reason
           FROM data_invalidations i JOIN datasets d ON d.id = i.dataset_uuid
           WHERE d.name = 'orders' AND i.source_event ->> 'stream' LIKE 'kafka/%%'
           ORDER BY i.reason, i.partition_key"""

READ = "SELECT stream FROM consumer_positions WHERE split_part(position, '@', 1) = %s"


def orders(topic: str) -> dict[str, Any]:
    """The table `orders_full` of a topic with further tables."""
    bound = {
        "kind": "kafka",
        "topic": topic,
        "format": "debezium",
        "table": "public.orders_full",
        "partition": {"dt": {"field": "ordered_at", "unit": "days"}},
    }
    spec = source("orders", {"dt": {"time": "day"}}, source=bound)
    [output] = spec["outputs"]
    output["columns"] = ["id", "ordered_at", "status", "amount", "notes"]
    return spec


async def test_changes_become_coalesced_invalidations(database: Database, broker: Broker) -> None:
    async with topic_on(broker) as topic:
        world = await World.made(
            database,
            orders(topic.name),
            job("daily", "orders", partitioning={"dt": {"time": "day"}}),
        )
        _, inserted, noted, _, _, paid, *_ = messages("plain", "orders_full")
        payloads = [*messages("plain", "orders_default"), inserted, noted, paid]
        for message in payloads:
            await topic.send_bytes(message.payload)
        connections = SourceConnections(
            name="knockon.test",
            source_url=world.database.url,
            bootstrap_servers=broker.bootstrap_servers,
            client=broker.consumer_options,
        )
        listener, stop = NotificationListener(database, [INVALIDATIONS]), asyncio.Event()
        async with asyncio.TaskGroup() as group:
            group.create_task(listener.run(stop))
            group.create_task(Consumers(world.database, world.org, connections).run(stop))
            async with asyncio.timeout(PATIENCE_SECONDS):
                while not await world.rows(READ, str(len(payloads))):
                    await listener.wait(1.0)
            stop.set()
        invalidations = await world.rows(STORED)

    assert [(row["partition_key"], row["columns"], row["reason"]) for row in invalidations] == [
        ("2026-01-02", None, "arrival"),
        ("2026-01-02", ["notes"], "change"),
        ("2026-01-03", ["status"], "change"),
    ]
    assert await world.rows("SELECT error FROM dead_letters") == []
