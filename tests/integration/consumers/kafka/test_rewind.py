"""Rewinding: stored positions move, and any active consumer follows."""

from datetime import UTC, datetime, timedelta

import pytest
from typer.testing import CliRunner

from consumers.kafka import rewinds
from consumers.kafka.position import Position
from consumers.run import Consumers, SourceConnections
from engine.cli.commands.consume import app
from engine.errors import InvalidInput, ServiceUnavailable
from engine.model.event import Batch
from tests.support.kafka import on_both, on_kafka, running, settings
from tests.support.worlds import World, job, source

NOON = datetime(2013, 2, 13, 12, tzinfo=UTC)


async def rewound(group, ledger, origin) -> list[tuple[int | None, int | None]]:
    advances = await rewinds(group, ledger.positions, origin)
    await ledger.ingest(Batch(consumer=group.name, advances=tuple(advances)))
    return [(offset_of(advance.before), offset_of(advance.after)) for advance in advances]


def offset_of(position: str | None) -> int | None:
    return None if position is None else Position.from_text(position).offset


@on_both
async def test_earliest_reads_all_messages_and_latest_none(group, consumer, ledger, topic):
    await topic.send("a", "b")
    async with running(consumer):
        await ledger.until(events=2)

    assert await rewound(group, ledger, "earliest") == [(2, 0)]
    async with running(consumer):
        await ledger.until(events=4)
    assert ledger.notes == ["a", "b", "a", "b"]

    await topic.send("skipped")
    assert await rewound(group, ledger, "latest") == [(2, 3)]
    assert await rewound(group, ledger, "latest") == []
    await topic.send("c")
    async with running(consumer):
        await ledger.until(events=5)
    assert ledger.notes[4:] == ["c"]


@on_kafka
async def test_a_time_selects_the_first_message_not_older(group, ledger, topic):
    for hours, note in enumerate("abc"):
        await topic.send_at(NOON + timedelta(hours=hours), note)

    assert await rewound(group, ledger, NOON + timedelta(minutes=1)) == [(None, 1)]
    assert await rewound(group, ledger, NOON - timedelta(days=99999)) == [(1, 0)]
    assert await rewound(group, ledger, NOON + timedelta(days=1)) == [(0, 3)]


async def test_an_unavailable_broker_is_reported(broker, ledger, topic):
    away = settings(broker, topic.name, bootstrap_servers="127.0.0.1:1")
    with pytest.raises(ServiceUnavailable, match="broker did not return offsets"):
        await rewinds(away, ledger.positions, "earliest")


@on_kafka
async def test_a_running_consumer_follows_a_rewind(group, consumer, ledger, topic):
    async with running(consumer):
        await topic.send("a", "b")
        await ledger.until(events=2)
        await rewound(group, ledger, "earliest")
        await topic.send("c")
        await ledger.until(events=5)

    assert ledger.notes == ["a", "b", "a", "b", "c"]


@on_both
async def test_deployed_topics_are_rewound_in_the_database(database, broker, topic):
    of_topic = source("a", source={"kind": "kafka", "topic": topic.name, "dataset": "a"})
    world = await World.made(database, of_topic, job("b", "a"))
    connections = SourceConnections(
        name="knockon.test",
        source_url=database.url,
        bootstrap_servers=broker.bootstrap_servers,
    )
    consumers = Consumers(database, world.org, connections)
    await topic.send("x", "y")

    [there] = await consumers.rewind("latest")
    [back] = await consumers.rewind("earliest")

    assert (there.before, offset_of(there.after), offset_of(back.after)) == (None, 2, 0)
    assert back.before == there.after
    assert await consumers.rewind("earliest") == []
    [stored] = await world.rows(
        "SELECT stream, position FROM consumer_positions WHERE consumer = 'knockon.test'"
    )
    assert stored == {"stream": topic.stream(), "position": back.after}


async def test_a_rewind_without_a_broker_is_rejected(database):
    world = await World.made(database, source("a"), job("b", "a"))
    connections = SourceConnections(
        name="knockon.test", source_url=database.url, bootstrap_servers=None
    )
    with pytest.raises(InvalidInput, match="no Kafka broker is configured"):
        await Consumers(database, world.org, connections).rewind("earliest")


def test_an_invalid_start_is_a_usage_error():
    result = CliRunner().invoke(app, ["--from", "yesterday"])
    assert result.exit_code == 2
    assert "yesterday" in result.output
