"""Outputs of OpenLineage runs named only in an event before the end of the run."""

import asyncio
from datetime import timedelta
from functools import partial
from typing import Any

import msgspec
import pytest

from consumers.kafka.batches import feed_of
from consumers.replay import replay
from consumers.run import Consumers, SourceConnections
from consumers.sources import load_sources
from engine.embedded.broker import Broker
from engine.flow.deployment.auto_register import auto_register
from engine.flow.ingestion.ingest import Ingested, ingest
from engine.loops.notification_listener import NotificationListener
from engine.model.event import Batch, Delivery, Rejection
from engine.service.queries.dead_letters import dead_letters
from engine.store.database import Connection, Database
from engine.store.notifications import INVALIDATIONS
from tests.support.kafka import PATIENCE_SECONDS, topic_on
from tests.support.worlds import DAILY, World, source

STORED = """SELECT d.name, i.partition_key, i.source_event #>> '{event,note}' AS note,
                  i.source_event #>> '{event,id}' AS run
           FROM data_invalidations i JOIN datasets d ON d.id = i.dataset_uuid
           WHERE i.source_event ->> 'stream' LIKE 'kafka/%%'
           ORDER BY d.name, i.partition_key"""
WAITING = """SELECT pid FROM pg_locks WHERE locktype = 'advisory' AND NOT granted
             AND database = (SELECT oid FROM pg_database WHERE datname = current_database())"""
REMEMBERED = "SELECT run, name FROM run_outputs WHERE expired_at IS NULL ORDER BY run, name"


def told(name: str, topic: str = "lineage", **more: Any) -> dict[str, Any]:
    """A source reported by a lineage topic."""
    binding = {"kind": "kafka", "topic": topic, "format": "openlineage", "namespace": "db"}
    return source(name, DAILY, source={**binding, "name": "public.{dataset}", **more})


def output(name: str, *days: str, **facets: Any) -> dict[str, Any]:
    partitions = [{"dimensions": {"dt": day}} for day in days]
    condition = {"outputCondition": {"type": "partition", "partitions": partitions}}
    subset = {"subset": condition} if days else {}
    return {"namespace": "db", "name": f"public.{name}", "facets": facets, "outputFacets": subset}


def event(kind: str, *outputs: dict[str, Any], run: str = "r1") -> bytes:
    job = {"namespace": "loads", "name": "nightly"}
    return msgspec.json.encode(
        {"eventType": kind, "run": {"runId": run}, "job": job, "outputs": outputs}
    )


class Feed:
    """Events of a topic, each ingested separately or in a batch."""

    def __init__(self, world: World) -> None:
        self.world = world
        self.offset = 0

    async def take(self, *values: bytes, partition: int = 0) -> Ingested:
        async with self.world.conn() as conn:
            return await self.take_on(conn, *values, partition=partition)

    async def take_on(self, conn: Connection, *values: bytes, partition: int = 0) -> Ingested:
        stream, deliveries = f"kafka/lineage/{partition}", []
        for value in values:
            deliveries.append(Delivery(stream, str(self.offset), value, {}))
            self.offset += 1
        sources = await load_sources(conn, self.world.org)
        reader = sources.readers(partial(auto_register, conn, self.world.org))["lineage"]
        await reader.prepare(values)
        outcomes = [reader.read(each) for each in deliveries]
        received = [
            each for outcome in outcomes if not isinstance(outcome, Rejection) for each in outcome
        ]
        runs = tuple(reader.runs(feed_of("lineage"), deliveries))
        batch = Batch(consumer="k", received=tuple(received), runs=runs)
        return await ingest(conn, self.world.org, batch)

    async def invalidations(self) -> list[tuple[str, str | None]]:
        return [(row["name"], row["partition_key"]) for row in await self.world.rows(STORED)]


async def feed_for(database: Database, *sources: dict[str, Any]) -> Feed:
    return Feed(await World.made(database, *(sources or (told("orders"), told("visits")))))


async def test_an_output_named_only_at_the_start_is_invalidated_on_completion(
    database: Database,
) -> None:
    feed = await feed_for(database)

    await feed.take(event("START", output("orders", "2013-02-13")))
    await feed.take(event("RUNNING", output("visits")))
    assert await feed.invalidations() == []
    done = await feed.take(event("COMPLETE"))

    assert await feed.invalidations() == [("orders", "2013-02-13"), ("visits", None)]
    assert done.unnamed_runs == 1
    assert {row["run"] for row in await feed.world.rows(STORED)} == {"r1"}
    assert await feed.world.rows(REMEMBERED) == []
    assert (await feed.take(event("COMPLETE"))).invalidations == ()


async def test_outputs_named_at_the_end_replace_those_of_the_start(database: Database) -> None:
    feed = await feed_for(database)

    await feed.take(event("START", output("orders"), output("visits")))
    done = await feed.take(event("COMPLETE", output("orders", "2013-02-13"), output("visits")))

    assert await feed.invalidations() == [("orders", "2013-02-13"), ("visits", None)]
    assert done.unnamed_runs == 0


async def test_an_announced_change_of_a_whole_dataset_is_not_narrowed(database: Database) -> None:
    feed = await feed_for(database)
    overwrite = {"lifecycleStateChange": {"lifecycleStateChange": "OVERWRITE"}}

    await feed.take(event("START", output("orders", **overwrite)))
    await feed.take(event("COMPLETE", output("orders", "2013-02-13")))

    assert await feed.invalidations() == [("orders", "2013-02-13"), ("orders", None)]


@pytest.mark.parametrize("kind", ["FAIL", "ABORT"])
async def test_a_failed_run_may_have_written(database: Database, kind: str) -> None:
    feed = await feed_for(database)

    await feed.take(event("START", output("orders", "2013-02-13")), event(kind))

    [invalidation] = await feed.world.rows(STORED)
    assert (invalidation["name"], invalidation["partition_key"]) == ("orders", "2013-02-13")
    assert "the run failed" in invalidation["note"]


async def test_start_and_end_may_arrive_in_any_order(database: Database) -> None:
    """Both may be in different partitions of a topic."""
    feed = await feed_for(database)

    await feed.take(event("COMPLETE"), partition=1)
    await feed.take(event("START", output("orders", "2013-02-13")))

    assert await feed.invalidations() == [("orders", "2013-02-13")]
    assert await feed.world.rows(REMEMBERED) == []


async def test_start_and_end_may_be_ingested_concurrently(database: Database) -> None:
    feed = await feed_for(database)
    runs = [f"r{n}" for n in range(8)]

    await asyncio.gather(
        *(feed.take(event("START", output("orders", "2013-02-13"), run=run)) for run in runs),
        *(feed.take(event("COMPLETE", run=run), partition=1) for run in runs),
    )

    assert {row["run"] for row in await feed.world.rows(STORED)} == set(runs)
    assert await feed.world.rows(REMEMBERED) == []


async def test_an_end_waits_for_a_start_that_is_being_ingested(database: Database) -> None:
    feed = await feed_for(database)
    async with database.transaction() as conn:
        await feed.take_on(conn, event("START", output("orders", "2013-02-13")))
        ending = asyncio.create_task(feed.take(event("COMPLETE"), partition=1))
        async with asyncio.timeout(PATIENCE_SECONDS):
            while not (ending.done() or await feed.world.rows(WAITING)):  # noqa: ASYNC110
                await asyncio.sleep(0.01)
    await ending

    assert await feed.invalidations() == [("orders", "2013-02-13")]


async def test_outputs_of_different_runs_are_kept_separate(database: Database) -> None:
    feed = await feed_for(database)

    await feed.take(event("START", output("orders"), run="a"), event("START", run="b"))
    await feed.take(event("COMPLETE", run="b"))

    assert await feed.invalidations() == []
    assert [row["run"] for row in await feed.world.rows(REMEMBERED)] == ["a"]


async def test_a_run_without_a_reported_end_is_invalidated_after_a_week(database: Database) -> None:
    feed = await feed_for(database)
    await feed.take(event("START", output("orders", "2013-02-13")))
    await feed.take()
    assert await feed.invalidations() == []

    await feed.world.rows(
        "UPDATE run_outputs SET announced_at = now() - interval '8 days' RETURNING run"
    )
    done = await feed.take()

    assert await feed.invalidations() == [("orders", "2013-02-13")]
    assert done.unnamed_runs == 1
    assert await feed.world.rows(REMEMBERED) == []


async def test_an_expired_run_that_ends_is_invalidated_again(database: Database) -> None:
    feed = await feed_for(database)
    await feed.take(event("START", output("orders", "2013-02-13")))
    await feed.world.rows(
        "UPDATE run_outputs SET announced_at = now() - interval '8 days' RETURNING run"
    )
    await feed.take()
    await feed.take()
    assert await feed.invalidations() == [("orders", "2013-02-13")]

    await feed.take(event("COMPLETE"))

    assert await feed.invalidations() == [("orders", "2013-02-13")] * 2
    await feed.take(event("COMPLETE"))
    assert await feed.invalidations() == [("orders", "2013-02-13")] * 2


async def test_expired_announcements_are_deleted_after_a_month(database: Database) -> None:
    feed = await feed_for(database)
    await feed.take(event("START", output("orders", "2013-02-13")))
    await feed.world.rows(
        "UPDATE run_outputs SET expired_at = now() - interval '31 days' RETURNING run"
    )
    await feed.take()
    assert await feed.world.rows("SELECT FROM run_outputs") == []


async def test_an_announcement_after_its_expiry_is_new(database: Database) -> None:
    feed = await feed_for(database)
    start = event("START", output("orders", "2013-02-13"))
    await feed.take(start)
    await feed.world.rows("UPDATE run_outputs SET expired_at = now() RETURNING run")
    await feed.take(start)
    assert len(await feed.world.rows(REMEMBERED)) == 1


async def test_a_dataset_bound_during_a_run_is_invalidated(database: Database) -> None:
    feed = await feed_for(database, told("orders"))
    await feed.take(event("START", output("users", "2013-02-13")))
    await feed.world.deploy(told("users"), dag="more")

    await feed.take(event("COMPLETE"))

    assert await feed.invalidations() == [("users", "2013-02-13")]


async def test_an_unbound_output_can_be_replayed(database: Database) -> None:
    feed = await feed_for(database, told("orders"))
    done = await feed.take(event("START", output("users", "2013-02-13")), event("COMPLETE"))
    [letter] = done.rejections
    assert "db/public.users" in letter.error

    await feed.world.deploy(told("users"), dag="more")
    async with feed.world.conn() as conn:
        [stored] = await dead_letters(feed.world.caller, feed.world.service, limit=1)
        [again] = await replay(conn, feed.world.org, [stored.id])

    assert again.error is None
    assert await feed.invalidations() == [("users", "2013-02-13")]


async def test_an_announced_output_is_registered_by_a_rule(database: Database) -> None:
    rule = {"dag": "found", "name": "shop.{table}", "dataset": "shop_{table}"}
    feed = await feed_for(database, told("orders", discover=rule))

    announced = {**output("", "2013-02-13"), "name": "shop.users"}
    await feed.take(event("START", announced))
    await feed.take(event("COMPLETE"))

    assert await feed.invalidations() == [("shop_users", "2013-02-13")]


async def test_announcements_are_limited_in_size(
    database: Database, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr("engine.flow.ingestion.openlineage_runs.MOST", 2)
    feed = await feed_for(database)
    await feed.take(event("START", output("orders"), output("visits")))

    done = await feed.take(event("START", output("orders", "2013-02-13"), run="r2"))

    [letter] = done.rejections
    assert "2 outputs of runs that have not ended are stored already" in letter.error
    async with feed.world.conn() as conn:
        [stored] = await dead_letters(feed.world.caller, feed.world.service, limit=1)
        [again] = await replay(conn, feed.world.org, [stored.id])
    assert again.error is None
    assert await feed.invalidations() == [("orders", "2013-02-13")]


async def test_announcements_may_contain_any_text(database: Database) -> None:
    feed = await feed_for(database, told("orders", unknown="ignore"))

    await feed.take(event("START", output("a\0b"), output("orders", "2013-02-13"), run="r\0" * 300))
    await feed.take(event("COMPLETE", run="r\0" * 300))

    assert await feed.invalidations() == [("orders", "2013-02-13")]


async def test_announcements_survive_a_restart_of_the_consumer(
    database: Database, broker: Broker
) -> None:
    async with topic_on(broker) as topic:
        world = await World.made(database, told("orders", topic.name))
        connections = SourceConnections(
            name="knockon.test",
            source_url=world.database.url,
            bootstrap_servers=broker.bootstrap_servers,
            client=broker.consumer_options,
        )
        until = {"START": "SELECT FROM run_outputs", "COMPLETE": STORED}
        for kind, statement in until.items():
            await topic.send_bytes(event(kind, *[output("orders")] * (kind == "START")))
            listener, stop = NotificationListener(database, [INVALIDATIONS]), asyncio.Event()
            async with asyncio.TaskGroup() as group:
                group.create_task(listener.run(stop))
                group.create_task(Consumers(world.database, world.org, connections).run(stop))
                async with asyncio.timeout(PATIENCE_SECONDS):
                    while not await world.rows(statement):
                        await listener.wait(0.2)
                stop.set()

        assert [row["name"] for row in await world.rows(STORED)] == ["orders"]
        assert await world.rows(REMEMBERED) == []


async def test_an_output_announced_again_is_remembered_for_longer(database: Database) -> None:
    feed = await feed_for(database)
    start = event("START", output("orders", "2013-02-13"))
    await feed.take(start)
    later = "UPDATE run_outputs SET announced_at = announced_at - %s RETURNING run"
    await feed.world.rows(later, timedelta(days=6))
    await feed.take(start)
    await feed.world.rows(later, timedelta(days=2))
    await feed.take()
    assert await feed.invalidations() == []
