"""Behavior specific to Apache Kafka, or most important with it."""

import asyncio

import msgspec
import pytest
from aiokafka import AIOKafkaProducer, TopicPartition
from aiokafka.admin import AIOKafkaAdminClient
from aiokafka.admin.records_to_delete import RecordsToDelete

from engine.embedded.broker import Broker
from engine.model.event import Batch
from tests.support.kafka import on_kafka, running

pytestmark = on_kafka


def event(note: str) -> bytes:
    return msgspec.json.encode({"dataset": "flights", "note": note})


@pytest.mark.parametrize("codec", ["gzip", "snappy", "lz4", "zstd"])
async def test_compressed_batches_are_read(broker, consumer, ledger, topic, codec):
    producer = AIOKafkaProducer(
        bootstrap_servers=broker.bootstrap_servers, compression_type=codec, linger_ms=50
    )
    async with producer, running(consumer):
        sending = [await producer.send(topic.name, event(f"{n:1000}")) for n in range(20)]
        await asyncio.gather(*sending)
        await ledger.until(events=20)

    assert [int(note) for note in ledger.notes] == list(range(20))


async def test_only_committed_messages_are_read_and_markers_are_skipped(
    broker, consumer, ledger, topic
):
    producer = AIOKafkaProducer(
        bootstrap_servers=broker.bootstrap_servers, transactional_id=topic.name
    )
    async with producer:
        async with producer.transaction():
            await producer.send_and_wait(topic.name, event("kept"), partition=0)
        await producer.begin_transaction()
        await producer.send_and_wait(topic.name, event("aborted"), partition=0)
        await producer.abort_transaction()
        async with producer.transaction():
            await producer.send_and_wait(topic.name, event("kept too"), partition=0)
    await topic.send("last")
    async with running(consumer):
        await ledger.until(events=3)

    assert ledger.notes == ["kept", "kept too", "last"]
    assert [position for _, position, _ in ledger.events] == ["0", "4", "6"]


async def test_the_position_advances_past_a_trailing_marker(broker, consumer, ledger, topic):
    producer = AIOKafkaProducer(
        bootstrap_servers=broker.bootstrap_servers, transactional_id=topic.name
    )
    async with producer, producer.transaction():
        await producer.send_and_wait(topic.name, event("a"), partition=0)

    async with running(consumer):
        while await ledger.offsets() != {topic.stream(): 2}:
            await ledger.until(batches=len(ledger.batches) + 1)


async def delete_records(broker: Broker, topic: str, before: int) -> None:
    admin = AIOKafkaAdminClient(bootstrap_servers=broker.bootstrap_servers)
    await admin.start()
    try:
        to = {TopicPartition(topic, 0): RecordsToDelete(before_offset=before)}
        await admin.delete_records(to)
    finally:
        await admin.close()


async def test_messages_deleted_before_they_were_read_are_recorded_as_lost(
    broker, consumer, ledger, topic
):
    await topic.send("a")
    async with running(consumer):
        await ledger.until(events=1)
    await topic.send("b", "c", "d")
    await delete_records(broker, topic.name, before=3)
    async with running(consumer):
        await ledger.until(events=2, rejections=1)

    [(_, position, payload, error)] = ledger.rejections
    assert (position, payload) == ("1..2", None)
    assert error.startswith("lost: the broker deleted offsets 1 to 2")
    assert ledger.notes == ["a", "d"]


async def test_messages_deleted_during_a_commit_are_read_or_recorded_as_lost(
    broker, consumer, ledger, topic
):
    holding, go_on = asyncio.Event(), asyncio.Event()

    async def hold(batch: Batch) -> None:
        if batch.received:
            holding.set()
            await go_on.wait()

    ledger.before = hold
    async with running(consumer):
        await topic.send("a")
        await holding.wait()
        for note in "bcd":
            await topic.send(note)
        await delete_records(broker, topic.name, before=3)
        go_on.set()
        while "d" not in ledger.notes:
            await ledger.until(events=len(ledger.events) + 1)

    read = [int(position) for _, position, _ in ledger.events]
    lost = [offset for _, position, *_ in ledger.rejections for offset in offsets(position)]
    assert sorted(read + lost) == [0, 1, 2, 3]


def offsets(text: str) -> range:
    first, last = text.split("..")
    return range(int(first), int(last) + 1)
