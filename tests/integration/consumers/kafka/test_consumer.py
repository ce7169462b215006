"""The Kafka consumer, on a real broker and a real database."""

import asyncio
from collections import Counter
from dataclasses import replace

import msgspec
import psycopg
import pytest
from aiokafka import AIOKafkaConsumer, TopicPartition
from aiokafka.coordinator.assignors.roundrobin import RoundRobinPartitionAssignor
from aiokafka.coordinator.protocol import ConsumerProtocolMemberAssignment

from consumers.formats.cloudevents import read_cloudevent
from consumers.formats.reading import Reader
from consumers.kafka import KafkaConsumer
from engine.embedded.broker import EmbeddedBroker
from tests.support.kafka import on_both, on_kafka, running, settings, topic_on


@pytest.fixture
def consumer(broker, ledger, topic) -> KafkaConsumer:
    return KafkaConsumer(settings(broker, topic.name), ledger.ingest, ledger.positions)


@on_both
async def test_every_event_is_ingested_with_its_position(consumer, ledger, topic):
    async with running(consumer):
        await topic.send("a")
        await ledger.until(events=1)
        await topic.send("b")
        await ledger.until(events=2)

    assert ledger.events == [(topic.stream(), "0", "a"), (topic.stream(), "1", "b")]
    assert await ledger.offsets() == {topic.stream(): 2}
    assert not ledger.overtaken


@on_both
async def test_a_restart_resumes_from_the_stored_position(consumer, ledger, topic):
    await topic.send("a", "b")
    async with running(consumer):
        await ledger.until(events=2)

    await topic.send("c", "d")
    async with running(consumer):
        await ledger.until(events=4)

    assert ledger.notes == ["a", "b", "c", "d"]


@on_both
async def test_stored_positions_take_precedence_over_those_of_the_broker(consumer, ledger, topic):
    await topic.send("a", "b", "c")
    async with running(consumer):
        await ledger.until(events=3)

    await ledger.move(topic.stream(), "1")
    async with running(consumer):
        await ledger.until(events=5)

    assert ledger.notes == ["a", "b", "c", "b", "c"]


@on_both
async def test_poison_messages_are_rejected_and_others_ingested(consumer, ledger, topic):
    large = b" " * 10_000_000
    await topic.send("a")
    await topic.send_bytes(b"{", trace=b"\x00\xff")
    await topic.send("b")
    await topic.send_bytes(None)
    await topic.send_bytes(large)
    await topic.send("c")

    async with running(consumer):
        await ledger.until(events=3, rejections=3)

    assert ledger.notes == ["a", "b", "c"]
    rejected = [(position, payload) for _, position, payload, _ in ledger.rejections]
    assert rejected == [("1", b"{"), ("3", None), ("4", large)]
    reasons = [error.partition(":")[0] for *_, error in ledger.rejections]
    assert reasons == [
        "not JSON",
        "null value",
        "the message has 10000000 bytes, the limit is 1048576",
    ]


async def test_headers_reach_the_format_and_the_dead_letter(broker, ledger, topic):
    formats = settings(broker, topic.name, readers={topic.name: Reader(read_cloudevent)})
    envelope = {"ce_specversion": b"1.0", "ce_id": b"7", "ce_source": b"/x", "CE_TYPE": b"t"}
    data = msgspec.json.encode({"dataset": "flights", "note": "a"})
    await topic.send_bytes(data, **envelope)
    await topic.send_bytes(data, **envelope | {"ce_specversion": b"9\x00"})

    async with running(KafkaConsumer(formats, ledger.ingest, ledger.positions)):
        await ledger.until(events=1, rejections=1)

    [rejection] = [each for batch in ledger.batches for each in batch.rejections]
    assert ledger.notes == ["a"]
    assert rejection.headers["ce_specversion"] == "9\N{SYMBOL FOR NULL}"


@on_both
async def test_a_message_the_client_cannot_decode_is_skipped_and_reported(
    broker, ledger, wide_topic
):
    consumer = KafkaConsumer(settings(broker, wide_topic.name), ledger.ingest, ledger.positions)
    await wide_topic.send("a", partition=2)
    await wide_topic.send_with_bad_header("bad", partition=2)
    for note, partition in [("b", 0), ("c", 1), ("d", 2), ("e", 3)]:
        await wide_topic.send(note, partition=partition)

    async with running(consumer):
        await ledger.until(events=5, rejections=1)

    [(stream, position, payload, error)] = ledger.rejections
    assert (stream, position, payload) == (wide_topic.stream(2), "1", None)
    assert error.startswith("a header's name is not UTF-8")
    assert sorted(ledger.notes) == ["a", "b", "c", "d", "e"]


@on_both
async def test_a_group_shares_and_hands_over_partitions(broker, ledger, wide_topic):
    group = settings(broker, wide_topic.name)
    first = KafkaConsumer(group, ledger.ingest, ledger.positions)
    newcomer_wrote = asyncio.Event()

    async def ingest(batch, rejected):
        await ledger.ingest(batch, rejected)
        if batch.received:
            newcomer_wrote.set()

    sent = Counter[str]()

    async def send_some() -> None:
        notes = [str(sent.total() + n) for n in range(20)]
        sent.update(notes)
        for n, note in enumerate(notes):
            await wide_topic.send(note, partition=n % 4)

    async with running(KafkaConsumer(group, ingest, ledger.positions)):
        async with running(first):
            while not newcomer_wrote.is_set():
                await send_some()
            await send_some()
        await send_some()
        await ledger.until(events=sent.total())

    assert Counter(ledger.notes) == sent


async def test_a_batch_is_retried_until_the_database_accepts_it(consumer, ledger, topic):
    refusals = [psycopg.OperationalError("away"), psycopg.OperationalError("away"), OSError()]
    tried = []

    async def refuse(batch):
        tried.append(batch)
        if refusals:
            raise refusals.pop()

    await topic.send("a", "b")
    ledger.before = refuse
    async with running(consumer):
        await ledger.until(events=2)

    assert ledger.notes == ["a", "b"]
    assert tried[0] is tried[1] is tried[2] is tried[3]


async def test_reading_positions_is_retried_until_the_database_responds(broker, ledger, topic):
    refusals = [psycopg.OperationalError("away")]

    async def positions():
        if refusals:
            raise refusals.pop()
        return await ledger.positions()

    await topic.send("a")
    async with running(KafkaConsumer(settings(broker, topic.name), ledger.ingest, positions)):
        await ledger.until(events=1)

    assert not refusals


@on_both
async def test_a_stop_does_not_wait_for_an_unavailable_database(consumer, ledger, topic):
    tried = asyncio.Event()

    async def refuse(batch):
        tried.set()
        raise psycopg.OperationalError("away")

    await topic.send("a")
    ledger.before = refuse
    async with running(consumer):
        await tried.wait()

    ledger.before = None
    async with running(consumer):
        await ledger.until(events=1)
    assert ledger.notes == ["a"]


@on_both
async def test_a_consumer_with_an_outdated_position_drops_its_batch_and_continues(
    consumer, ledger, topic
):
    async def overtake(batch):
        if batch.received:
            ledger.before = None
            await ledger.move(topic.stream(), "2")

    await topic.send("a", "b")
    ledger.before = overtake
    async with running(consumer):
        await ledger.until(batches=1)
        await topic.send("c")
        await ledger.until(events=1)

    assert ledger.events == [(topic.stream(), "2", "c")]


@on_both
async def test_latest_starts_at_the_end_and_stores_the_position(broker, ledger, topic):
    group = settings(broker, topic.name, start="latest")
    await topic.send("old")
    async with running(KafkaConsumer(group, ledger.ingest, ledger.positions)):
        await ledger.until(batches=1)

    await topic.send("new")
    async with running(KafkaConsumer(group, ledger.ingest, ledger.positions)):
        await ledger.until(events=1)

    assert ledger.notes == ["new"]


@on_kafka
async def test_a_partition_added_later_is_read_from_its_beginning(broker, ledger, topic):
    group = settings(broker, topic.name, start="latest")
    await topic.send("old")
    async with running(KafkaConsumer(group, ledger.ingest, ledger.positions)):
        await ledger.until(batches=1)

    await topic.grow(broker, 2)
    await topic.send("unnoticed", partition=1)
    async with running(KafkaConsumer(group, ledger.ingest, ledger.positions)):
        await ledger.until(events=1)

    assert ledger.notes == ["unnoticed"]


class FirstOnly(RoundRobinPartitionAssignor):
    """Assigns only the first partition, as if other members had yet to join."""

    name = "first"

    @classmethod
    def assign(cls, cluster, members):
        topics = {topic for each in members.values() for topic in each.subscription}
        first = ConsumerProtocolMemberAssignment(cls.version, [(each, [0]) for each in topics], b"")
        return dict.fromkeys(members, first)


async def test_start_positions_of_all_partitions_are_stored_at_once(broker, ledger, wide_topic):
    """In a growing group, partitions of later members must not count as new partitions."""
    first = settings(broker, wide_topic.name, start="latest")
    first = replace(first, client={**first.client, "partition_assignment_strategy": (FirstOnly,)})
    for partition in range(4):
        await wide_topic.send("old", partition=partition)
    async with running(KafkaConsumer(first, ledger.ingest, ledger.positions)):
        await ledger.until(batches=1)
    for partition in range(4):
        await wide_topic.send("new", partition=partition)
    every = settings(broker, wide_topic.name, start="latest", name=f"later-{wide_topic.name}")
    async with running(KafkaConsumer(every, ledger.ingest, ledger.positions)):
        await ledger.until(events=4)

    assert ledger.notes == ["new"] * 4


@on_both
async def test_offsets_are_committed_to_the_broker_for_lag_tools(broker, consumer, ledger, topic):
    partition = TopicPartition(topic.name, 0)
    async with AIOKafkaConsumer(
        bootstrap_servers=broker.bootstrap_servers, group_id=f"group-of-{topic.name}"
    ) as lag_tool:
        async with running(consumer):
            await topic.send("a", "b", "c")
            await ledger.until(events=3)
            await until_told(lag_tool, partition, 3)  # soon, without further messages
            await topic.send("d")
            await ledger.until(events=4)
        assert await lag_tool.committed(partition) == 4  # at the latest on stop


async def until_told(lag_tool: AIOKafkaConsumer, partition: TopicPartition, offset: int) -> None:
    async with asyncio.timeout(30):
        while await lag_tool.committed(partition) != offset:  # noqa: ASYNC110
            await asyncio.sleep(0.1)


async def test_a_broker_that_starts_late_or_restarts_is_awaited(ledger):
    broker = EmbeddedBroker()
    consumer = KafkaConsumer(settings(broker, "changes"), ledger.ingest, ledger.positions)

    async with running(consumer):
        with broker:
            async with topic_on(broker, name="changes") as topic:
                await topic.send("a")
                await ledger.until(events=1)
        with broker:  # the empty topic is detected
            async with topic_on(broker, name="changes") as topic:
                await ledger.until(rejections=1)
                await topic.send("b")
                await ledger.until(events=2)

    assert ledger.notes == ["a", "b"]


async def test_a_stop_does_not_wait_for_an_unavailable_broker(ledger):
    broker = EmbeddedBroker()
    consumer = KafkaConsumer(settings(broker, "changes"), ledger.ingest, ledger.positions)

    async with running(consumer):
        with broker:
            async with topic_on(broker, name="changes") as topic:
                await topic.send("a")
                await ledger.until(events=1)

    assert ledger.notes == ["a"]
