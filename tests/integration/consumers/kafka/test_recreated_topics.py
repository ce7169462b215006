"""A topic deleted and created again: unread messages are lost, and the loss is reported."""

import asyncio

import pytest

from consumers.kafka import KafkaConsumer, rewinds
from engine.model.event import Batch
from tests.support.kafka import delete_topic, on_both, on_kafka, running, settings


async def make_anew(broker, topic, *notes: str) -> None:
    await delete_topic(broker, topic.name)
    await broker.create_topic(topic.name)
    await topic.send(*notes)


def assert_told(ledger, topic) -> None:
    [(stream, position, payload, error)] = ledger.rejections
    assert (stream, position, payload) == (topic.stream(), "3..", None)
    assert error.startswith("lost: offset 3 was next in the topic with id ")


@on_both
@pytest.mark.parametrize("notes", ["d", "def", "defghi"], ids=["shorter", "as long", "longer"])
async def test_a_topic_recreated_without_a_running_consumer(broker, consumer, ledger, topic, notes):
    await topic.send("a", "b", "c")
    async with running(consumer):
        await ledger.until(events=3)

    await make_anew(broker, topic, *notes)
    async with running(consumer):
        await ledger.until(events=3 + len(notes), rejections=1)

    assert_told(ledger, topic)
    assert ledger.notes == [*"abc", *notes]


@on_both
async def test_a_broker_that_keeps_no_messages_loses_them_without_a_rejection(
    broker, ledger, topic
):
    forgetful = settings(broker, topic.name, reports_losses=False)
    await topic.send("a", "b", "c")
    async with running(KafkaConsumer(forgetful, ledger.ingest, ledger.positions)):
        await ledger.until(events=3)

    await make_anew(broker, topic, "d")
    async with running(KafkaConsumer(forgetful, ledger.ingest, ledger.positions)):
        await ledger.until(events=4)

    assert ledger.notes == ["a", "b", "c", "d"]
    assert not ledger.rejections


@on_kafka
async def test_a_topic_recreated_while_it_is_consumed(broker, group, ledger, topic):
    attentive = settings(broker, topic.name, client={**group.client, "metadata_max_age_ms": 300})
    async with running(KafkaConsumer(attentive, ledger.ingest, ledger.positions)):
        await topic.send("a", "b", "c")
        await ledger.until(events=3)
        await make_anew(broker, topic, "d")
        await ledger.until(events=4, rejections=1)

    assert_told(ledger, topic)
    assert ledger.notes == ["a", "b", "c", "d"]


@on_both
async def test_a_longer_topic_recreated_during_a_commit(broker, consumer, ledger, topic):
    holding, go_on = asyncio.Event(), asyncio.Event()

    async def hold(batch: Batch) -> None:
        if batch.received:
            holding.set()
            await go_on.wait()

    await topic.send("a", "b", "c")
    ledger.before = hold
    async with running(consumer):
        await holding.wait()
        await make_anew(broker, topic, *"defgh")
        go_on.set()
        await ledger.until(events=8, rejections=1)

    assert_told(ledger, topic)
    assert ledger.notes == [*"abcdefgh"]


@on_both
async def test_a_rewind_after_the_recreation_sets_the_position(
    broker, group, consumer, ledger, topic
):
    await topic.send("a", "b", "c")
    async with running(consumer):
        await ledger.until(events=3)

    await make_anew(broker, topic, *"defgh")
    advances = await rewinds(group, ledger.positions, "latest")
    await ledger.ingest(Batch(consumer=group.name, advances=tuple(advances)))
    await topic.send("i")
    async with running(consumer):
        await ledger.until(events=4)

    assert ledger.notes == [*"abci"]
    assert not ledger.rejections
