"""Servers for tests: from the environment if set, else in Docker, else embedded."""

import os
from collections.abc import Iterator
from contextlib import contextmanager
from functools import cache
from pathlib import Path
from tempfile import TemporaryDirectory

from engine.embedded.broker import Broker, EmbeddedBroker
from engine.embedded.postgres import EmbeddedPostgres, copy_template
from tests.support.apache_kafka import ApacheKafka
from tests.support.apache_kafka.broker import SecureBroker
from tests.support.compose import image_of

_AS_EMBEDDED = "postgres -c fsync=off -c max_connections=200 -c jit=off -c random_page_cost=1.1"
"""Command of a container with the settings of the embedded server, for the same query plans."""


@contextmanager
def postgres_server(cache_dir: Path, data_dir: Path) -> Iterator[str]:
    """Yield a superuser's address of a PostgreSQL; `cache_dir` outlives the session."""
    named = os.environ.get("KNOCKON_TEST_DATABASE_URL")
    if named:
        yield named
    elif docker_answers():
        from testcontainers.community.postgres import PostgresContainer

        container = PostgresContainer(image_of("postgres"), username="postgres", driver=None)
        container.with_env("POSTGRES_HOST_AUTH_METHOD", "trust")  # tests connect as other roles
        with container.with_command(_AS_EMBEDDED) as server:
            yield server.get_connection_url()
    else:
        copy_template(cache_dir, data_dir)
        with EmbeddedPostgres(data_dir, durable=False) as embedded:
            yield embedded.url


@contextmanager
def kafka_broker() -> Iterator[Broker]:
    """Yield a Kafka broker."""
    named = os.environ.get("KNOCKON_TEST_KAFKA")
    if named:
        yield Broker(named)
    elif docker_answers():
        with TemporaryDirectory() as directory, _container_kafka(Path(directory)) as broker:
            yield broker
    else:
        with EmbeddedBroker() as embedded:
            yield embedded


@contextmanager
def apache_kafka(directory: Path) -> Iterator[Broker]:
    """Yield an Apache Kafka. Raises ServiceUnavailable if no broker can be started."""
    named = os.environ.get("KNOCKON_TEST_KAFKA")
    if named:
        yield Broker(named)
    else:
        with _container_kafka(directory) if docker_answers() else ApacheKafka(directory) as broker:
            yield broker


def _container_kafka(directory: Path) -> SecureBroker:
    """Import testcontainers only if Docker is available, because the import takes a second."""
    from tests.support.container_kafka import ContainerKafka

    return ContainerKafka(directory)


@cache
def docker_answers() -> bool:
    """Check once, with a short timeout, for a reachable Docker."""
    if not os.environ.get("DOCKER_HOST") and not Path("/var/run/docker.sock").exists():
        return False
    import docker
    from docker.errors import DockerException

    try:
        client = docker.from_env(timeout=2)
        client.ping()
        client.close()
    except DockerException:
        return False
    return True
