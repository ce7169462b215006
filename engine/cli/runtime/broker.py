"""The Kafka broker: the configured one, or the embedded one of a running `knockon up`."""

from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

from engine.cli.runtime.kafka_security import kafka_security
from engine.embedded.broker import Broker, EmbeddedBroker, answers
from engine.settings import Settings


def find_broker(settings: Settings) -> Broker | None:
    """The broker to use, or None without a broker."""
    if settings.kafka_bootstrap_servers:
        return Broker(settings.kafka_bootstrap_servers, kafka_security(settings))
    file = _address_file(settings)
    address = file.read_text() if file.exists() else ""
    port = address.rpartition(":")[2]
    return ForeignEmbeddedBroker(address) if port and answers(int(port)) else None


class ForeignEmbeddedBroker(Broker):
    """An embedded broker of another process."""

    consumer_options = EmbeddedBroker.consumer_options
    keeps_messages = EmbeddedBroker.keeps_messages


@contextmanager
def running_broker(settings: Settings) -> Iterator[Broker]:
    """The configured broker, or an embedded one that other commands can find."""
    if settings.kafka_bootstrap_servers:
        yield Broker(settings.kafka_bootstrap_servers, kafka_security(settings))
        return
    file = _address_file(settings)
    file.parent.mkdir(parents=True, exist_ok=True)
    with EmbeddedBroker(log=file.with_suffix(".log")) as broker:
        file.write_text(broker.bootstrap_servers)
        try:
            yield broker
        finally:
            file.unlink(missing_ok=True)


def _address_file(settings: Settings) -> Path:
    return settings.home / "kafka"
