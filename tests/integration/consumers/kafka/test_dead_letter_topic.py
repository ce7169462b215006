"""Rejections are also sent to a topic; an unavailable topic does not block the consumer."""

import asyncio

import pytest
import structlog
from aiokafka import AIOKafkaConsumer

from consumers.formats.knockon import read_events
from consumers.formats.reading import Reader
from consumers.kafka import KafkaConsumer
from tests.support.kafka import on_both, on_kafka, running, settings, topic_on


async def read(broker, topic: str, count: int) -> list:
    client = AIOKafkaConsumer(
        topic, bootstrap_servers=broker.bootstrap_servers, auto_offset_reset="earliest"
    )
    async with client, asyncio.timeout(30):
        return [await client.getone() for _ in range(count)]


@on_both
async def test_a_rejected_message_is_sent_unchanged_with_the_reason(broker, ledger, topic):
    async with topic_on(broker) as letters:
        told = settings(broker, topic.name, dead_letter_topic=letters.name)
        await topic.send("a")
        await topic.send_bytes(b"{", trace=b"\x00\xff")
        await topic.send_bytes(b'[{"dataset": ""}, {"dataset": ""}]')
        await topic.send("b")
        async with running(KafkaConsumer(told, ledger.ingest, ledger.positions)):
            await ledger.until(events=2, rejections=2)

        first, second = await read(broker, letters.name, 2)

    headers = dict(first.headers)
    assert (first.key, first.value, headers["trace"]) == (b"k", b"{", b"\x00\xff")
    assert headers["x-knockon-error"].startswith(b"not JSON")
    assert headers["x-knockon-stream"] == topic.stream().encode()
    assert headers["x-knockon-position"] == b"1"
    assert second.value.startswith(b"[")


@on_both
async def test_a_source_may_have_its_own_dead_letter_topic(broker, ledger, topic):
    async with topic_on(broker) as own, topic_on(broker) as usual, topic_on(broker) as other:
        told = settings(
            broker,
            topic.name,
            readers={name: Reader(read_events) for name in (topic.name, other.name)},
            dead_letter_topic=usual.name,
            dead_letter_topics={topic.name: own.name},
        )
        await topic.send_bytes(b"{")
        await other.send_bytes(b"[")
        async with running(KafkaConsumer(told, ledger.ingest, ledger.positions)):
            await ledger.until(rejections=2)

        assert [record.value for record in await read(broker, own.name, 1)] == [b"{"]
        assert [record.value for record in await read(broker, usual.name, 1)] == [b"["]


@on_kafka
async def test_a_missing_dead_letter_topic_does_not_block_others(
    broker, ledger, topic, monkeypatch
):
    monkeypatch.setattr("consumers.kafka.dead_letters._TIMEOUT_SECONDS", 0.5)
    async with topic_on(broker) as usual, topic_on(broker) as other:
        told = settings(
            broker,
            topic.name,
            readers={name: Reader(read_events) for name in (topic.name, other.name)},
            dead_letter_topic=usual.name,
            dead_letter_topics={topic.name: f"not-{topic.name}"},
        )
        await topic.send_bytes(b"{")
        async with running(KafkaConsumer(told, ledger.ingest, ledger.positions)):
            await ledger.until(rejections=1)
            await other.send_bytes(b"[")
            await ledger.until(rejections=2)

        assert [record.value for record in await read(broker, usual.name, 1)] == [b"["]


@on_kafka
async def test_a_dead_letter_is_sent_before_positions_are_committed(broker, ledger, topic):
    async with topic_on(broker) as letters:
        told = settings(broker, topic.name, dead_letter_topic=letters.name)
        crashes = [OSError("crashed before the commit")]

        async def ingest(batch, rejected):
            async def crash_once(rejections):
                await rejected(rejections)
                if crashes:
                    raise crashes.pop()

            await ledger.ingest(batch, crash_once)

        await topic.send_bytes(b"{")
        async with running(KafkaConsumer(told, ingest, ledger.positions)):
            await ledger.until(rejections=1)

        assert [record.value for record in await read(broker, letters.name, 2)] == [b"{", b"{"]


@on_kafka
@pytest.mark.parametrize("whose", ["of all", "its own"])
@pytest.mark.parametrize("where", ["nowhere", "the topic itself"])
async def test_an_unusable_dead_letter_topic_does_not_stop_the_consumer(
    broker, ledger, topic, where, whose, monkeypatch
):
    monkeypatch.setattr("consumers.kafka.dead_letters._TIMEOUT_SECONDS", 0.2)
    name = topic.name if where == "the topic itself" else f"not-{topic.name}"
    options = {"dead_letter_topic": name}
    if whose == "its own":
        options = {"dead_letter_topics": {topic.name: name}}
    told = settings(broker, topic.name, **options)
    await topic.send("a")
    await topic.send_bytes(b"{")
    with structlog.testing.capture_logs() as logs:
        async with running(KafkaConsumer(told, ledger.ingest, ledger.positions)):
            await ledger.until(events=1, rejections=1)
            await topic.send("b")
            await topic.send_bytes(b"{")
            await ledger.until(events=2, rejections=2)

    assert ledger.notes == ["a", "b"]
    complaints = [entry["event"] for entry in logs if "dead letters" in entry["event"]]
    assert len(complaints) == 1


@on_kafka
async def test_a_message_with_neither_key_nor_value_is_sent_without_blocking_others(
    broker, ledger, topic
):
    async with topic_on(broker) as letters:
        told = settings(broker, topic.name, dead_letter_topic=letters.name)
        await topic.send("a")
        await topic.send_nothing()
        await topic.send("b")
        async with running(KafkaConsumer(told, ledger.ingest, ledger.positions)):
            await ledger.until(events=2, rejections=1)
        (letter,) = await read(broker, letters.name, 1)
    assert (letter.key, letter.value) == (None, b"")
    assert dict(letter.headers)["x-knockon-position"] == b"1"
