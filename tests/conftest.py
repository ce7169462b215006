"""Fixtures for every test.

`database` is an open Database for one test, with the whole schema; `database_url` is its address;
`empty_database_url` has no schema; `broker` is a Kafka broker for the session, where each test
creates its own topics; `kafka` is an Apache Kafka, or the test is skipped.
"""

from collections.abc import AsyncIterator, Iterator
from contextlib import ExitStack

import pytest
from hypothesis import HealthCheck, settings

from engine.embedded.broker import Broker
from engine.errors import ServiceUnavailable
from engine.store.database import Database
from tests.support.databases import fresh_database, migrated_template
from tests.support.servers import (
    apache_kafka,
    docker_answers,
    kafka_broker,
    postgres_server,
)

# On a shared machine the duration of an example is meaningless.
settings.register_profile("shared", deadline=None, suppress_health_check=[HealthCheck.too_slow])
settings.load_profile("shared")


@pytest.fixture(scope="session")
def postgres_url(
    pytestconfig: pytest.Config, tmp_path_factory: pytest.TempPathFactory
) -> Iterator[str]:
    """A superuser's address of the session's PostgreSQL; one server per xdist worker."""
    cache_dir = pytestconfig.cache.mkdir("postgres")
    with postgres_server(cache_dir, tmp_path_factory.mktemp("postgres") / "data") as url:
        yield url


@pytest.fixture(scope="session")
def template(postgres_url: str) -> Iterator[str]:
    """Name of a migrated database, to be copied."""
    with migrated_template(postgres_url) as name:
        yield name


@pytest.fixture
def database_url(postgres_url: str, template: str) -> Iterator[str]:
    """Address of a fresh database with the whole schema, as superuser."""
    with fresh_database(postgres_url, template) as url:
        yield url


@pytest.fixture
def empty_database_url(postgres_url: str) -> Iterator[str]:
    """Address of a fresh database without a schema, as superuser."""
    with fresh_database(postgres_url) as url:
        yield url


@pytest.fixture
async def database(database_url: str) -> AsyncIterator[Database]:
    """An open pool on `database_url`."""
    async with await Database.open(database_url) as database:
        yield database


@pytest.fixture(scope="session")
def broker() -> Iterator[Broker]:
    """A Kafka broker, possibly with topics of other tests."""
    with kafka_broker() as broker:
        yield broker


@pytest.fixture(scope="session")
def kafka(
    request: pytest.FixtureRequest, tmp_path_factory: pytest.TempPathFactory
) -> Iterator[Broker]:
    """An Apache Kafka, possibly with topics of other tests."""
    if docker_answers():
        yield request.getfixturevalue("broker")
        return
    with ExitStack() as stack:
        try:
            broker = stack.enter_context(apache_kafka(tmp_path_factory.mktemp("kafka")))
        except ServiceUnavailable as reason:
            pytest.skip(str(reason))
        yield broker
