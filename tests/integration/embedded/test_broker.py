"""The broker of the session, through the client used by the engine."""

import socket
from concurrent.futures import ThreadPoolExecutor
from contextlib import suppress
from pathlib import Path
from threading import Thread
from uuid import uuid4

import pytest
from aiokafka import AIOKafkaConsumer, AIOKafkaProducer, TopicPartition

from engine.embedded import broker as embedded
from engine.embedded.broker import Broker, EmbeddedBroker, answers
from engine.errors import ServiceUnavailable


@pytest.fixture
async def topic(broker: Broker) -> str:
    name = f"topic-{uuid4().hex}"
    await broker.create_topic(name, partitions=2)
    return name


async def _produce(broker: Broker, topic: str, *values: bytes) -> None:
    async with AIOKafkaProducer(bootstrap_servers=broker.bootstrap_servers) as producer:
        for value in values:
            await producer.send_and_wait(topic, value, partition=0)


def _consumer(broker: Broker, topic: str) -> AIOKafkaConsumer:
    return AIOKafkaConsumer(
        topic,
        bootstrap_servers=broker.bootstrap_servers,
        group_id=f"group-{topic}",
        enable_auto_commit=False,
        auto_offset_reset="earliest",
        **broker.consumer_options,
    )


async def test_a_group_continues_from_its_committed_offset(broker: Broker, topic: str) -> None:
    await _produce(broker, topic, b"first", b"second")
    async with _consumer(broker, topic) as consumer:
        assert (await consumer.getone()).value == b"first"
        await consumer.commit({TopicPartition(topic, 0): 1})
    async with _consumer(broker, topic) as consumer:
        assert await consumer.committed(TopicPartition(topic, 0)) == 1
        assert (await consumer.getone()).value == b"second"


async def test_creating_a_topic_twice_is_allowed(broker: Broker, topic: str) -> None:
    await broker.create_topic(topic, partitions=2)


def test_concurrent_brokers_have_different_ports() -> None:
    with EmbeddedBroker() as one, EmbeddedBroker() as other:
        assert one.bootstrap_servers != other.bootstrap_servers


def test_a_broker_responds_from_its_start_to_its_stop() -> None:
    broker = EmbeddedBroker()
    port = int(broker.bootstrap_servers.rpartition(":")[2])
    assert not answers(port)
    with broker:
        assert answers(port)
    assert not answers(port)


@pytest.mark.parametrize("echoes", [False, True])
def test_a_port_with_another_protocol_does_not_respond(echoes: bool) -> None:
    def meet() -> None:
        client, _ = server.accept()
        with client:
            told = client.recv(100)
            client.sendall(told if echoes else b"")

    with socket.create_server(("127.0.0.1", 0)) as server:
        other = Thread(target=meet)
        other.start()
        assert not answers(server.getsockname()[1])
        other.join()


def _port(broker: Broker) -> int:
    return int(broker.bootstrap_servers.rpartition(":")[2])


def test_a_start_waits_for_a_port_in_use() -> None:
    broker = EmbeddedBroker()
    with ThreadPoolExecutor() as executor:
        with socket.create_server(("127.0.0.1", _port(broker))):
            start = executor.submit(broker.start)
            with suppress(TimeoutError):
                start.result(timeout=0.5)
        start.result()
        assert answers(_port(broker))
        broker.stop()


def test_a_start_reports_a_port_that_stays_in_use(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(embedded, "_PORT_SECONDS", 0.5)
    with EmbeddedBroker() as running:
        second = EmbeddedBroker()
        second._port = _port(running)
        with pytest.raises(ServiceUnavailable, match="in use by another process"):
            second.start()


def test_other_start_failures_are_not_retried(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    program = tmp_path / "program"
    program.write_text("#!/bin/sh\necho ended\nexit 1\n")
    program.chmod(0o755)
    monkeypatch.setattr(embedded, "_program", lambda: str(program))
    with pytest.raises(ServiceUnavailable, match="did not start"):
        EmbeddedBroker(log=tmp_path / "log").start()
    assert (tmp_path / "log").read_text() == "ended\n"
