"""The Kafka broker: the one that is set, else the one that `knockon up` runs for this home."""

from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

from engine.cli.kafka_security import kafka_security
from engine.embedded.broker import Broker, EmbeddedBroker, answers
from engine.settings import Settings


def broker_of(settings: Settings) -> Broker | None:
    """The broker to talk to, or None where there is none."""
    if settings.kafka_bootstrap_servers:
        return Broker(settings.kafka_bootstrap_servers, kafka_security(settings))
    note = _note(settings)
    address = note.read_text() if note.exists() else ""
    port = address.rpartition(":")[2]
    return EmbeddedElsewhere(address) if port and answers(int(port)) else None


class EmbeddedElsewhere(Broker):
    """An embedded broker that another process runs."""

    consumer_options = EmbeddedBroker.consumer_options


@contextmanager
def running_broker(settings: Settings) -> Iterator[Broker]:
    """The broker that is set, or an embedded one, whose address other commands find meanwhile."""
    if settings.kafka_bootstrap_servers:
        yield Broker(settings.kafka_bootstrap_servers, kafka_security(settings))
        return
    note = _note(settings)
    note.parent.mkdir(parents=True, exist_ok=True)
    with EmbeddedBroker(log=note.with_suffix(".log")) as broker:
        note.write_text(broker.bootstrap_servers)
        try:
            yield broker
        finally:
            note.unlink(missing_ok=True)


def _note(settings: Settings) -> Path:
    return settings.home / "kafka"
