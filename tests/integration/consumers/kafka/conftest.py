"""A ledger in PostgreSQL, and separate topics for each test."""

from collections.abc import AsyncIterator

import pytest

from consumers.kafka import KafkaConsumer, KafkaSettings
from engine.embedded.broker import Broker
from engine.store.database import Database
from tests.support.kafka import Ledger, Topic, settings, topic_on


@pytest.fixture
def broker_fixture() -> str:
    """The name of the session's fixture with the broker; a test marked `on_both` has two.

    A parameter of `broker` itself would be one of the session's broker as well, which would then be
    started again for each value, although `kafka` still returns the first one.
    """
    return "broker"


@pytest.fixture
def broker(request: pytest.FixtureRequest, broker_fixture: str) -> Broker:
    """The broker of the test."""
    found: Broker = request.getfixturevalue(broker_fixture)
    return found


@pytest.fixture
async def ledger(database: Database) -> Ledger:
    return await Ledger.on(database)


@pytest.fixture
async def topic(broker: Broker) -> AsyncIterator[Topic]:
    async with topic_on(broker) as topic:
        yield topic


@pytest.fixture
async def wide_topic(broker: Broker) -> AsyncIterator[Topic]:
    """A topic of four partitions."""
    async with topic_on(broker, 4) as topic:
        yield topic


@pytest.fixture
def group(broker: Broker, topic: Topic) -> KafkaSettings:
    return settings(broker, topic.name)


@pytest.fixture
def consumer(group: KafkaSettings, ledger: Ledger) -> KafkaConsumer:
    return KafkaConsumer(group, ledger.ingest, ledger.positions)
