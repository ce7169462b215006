"""Reading again from another place: stored positions move, and whoever consumes follows."""

from datetime import UTC, datetime, timedelta

import pytest

from consumers.kafka import KafkaConsumer, moves
from engine.errors import ServiceUnavailable
from engine.model.event import Batch
from tests.support.kafka import on_both, on_kafka, running, settings

NOON = datetime(2013, 2, 13, 12, tzinfo=UTC)


@pytest.fixture
def group(broker, topic):
    return settings(broker, topic.name)


@pytest.fixture
def consumer(group, ledger) -> KafkaConsumer:
    return KafkaConsumer(group, ledger.ingest, ledger.positions)


async def rewound(group, ledger, origin) -> list[tuple[str | None, str]]:
    advances = await moves(group, ledger.positions, origin)
    await ledger.ingest(Batch(consumer=group.name, advances=tuple(advances)))
    return [(each.before, each.after) for each in advances]


@on_both
async def test_earliest_reads_all_again_and_latest_nothing(group, consumer, ledger, topic):
    await topic.send("a", "b")
    async with running(consumer):
        await ledger.until(events=2)

    assert await rewound(group, ledger, "earliest") == [("2", "0")]
    async with running(consumer):
        await ledger.until(events=4)
    assert ledger.notes == ["a", "b", "a", "b"]

    await topic.send("skipped")
    assert await rewound(group, ledger, "latest") == [("2", "3")]
    assert await rewound(group, ledger, "latest") == []
    await topic.send("c")
    async with running(consumer):
        await ledger.until(events=5)
    assert ledger.notes[4:] == ["c"]


@on_kafka
async def test_a_time_begins_with_the_first_message_that_is_not_older(group, ledger, topic):
    for hours, note in enumerate("abc"):
        await topic.send_at(NOON + timedelta(hours=hours), note)

    assert await rewound(group, ledger, NOON + timedelta(minutes=1)) == [(None, "1")]
    assert await rewound(group, ledger, NOON - timedelta(days=99999)) == [("1", "0")]
    assert await rewound(group, ledger, NOON + timedelta(days=1)) == [("0", "3")]


async def test_a_broker_that_is_away_is_said(broker, ledger, topic):
    away = settings(broker, topic.name, bootstrap_servers="127.0.0.1:1")
    with pytest.raises(ServiceUnavailable, match="where to begin"):
        await moves(away, ledger.positions, "earliest")


@on_kafka
async def test_a_consumer_that_is_at_work_follows(group, consumer, ledger, topic):
    async with running(consumer):
        await topic.send("a", "b")
        await ledger.until(events=2)
        await rewound(group, ledger, "earliest")
        await topic.send("c")
        await ledger.until(events=5)

    assert ledger.notes == ["a", "b", "a", "b", "c"]
