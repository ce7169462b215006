"""Authentication: TLS with a private authority, a client certificate, a user and a password."""

import asyncio

import pytest
import structlog
from pydantic import SecretStr

import consumers.kafka.consumer
from consumers.kafka import KafkaConsumer
from engine.cli.runtime.broker import find_broker
from engine.cli.runtime.kafka_security import kafka_security
from engine.errors import InvalidInput
from engine.settings import Settings
from tests.support.apache_kafka.broker import SecureBroker
from tests.support.apache_kafka.storage import PASSWORD, USER
from tests.support.kafka import running, settings, topic_on


@pytest.fixture
def broker(kafka):
    if not isinstance(kafka, SecureBroker):
        pytest.skip("this Kafka's certificates are not known here")
    return kafka


@pytest.fixture
def security(broker) -> dict[str, str]:
    files = broker.certificates
    return {
        "KAFKA_BOOTSTRAP_SERVERS": broker.secure_servers,
        "KAFKA_SECURITY_PROTOCOL": "SASL_SSL",
        "KAFKA_SASL_MECHANISM": "SCRAM-SHA-512",
        "KAFKA_SASL_USERNAME": USER,
        "KAFKA_SASL_PASSWORD": PASSWORD,
        "KAFKA_SSL_CA": str(files.authority),
        "KAFKA_SSL_CERT": str(files.client_chain),
        "KAFKA_SSL_KEY": str(files.client_key),
    }


def set_all(monkeypatch: pytest.MonkeyPatch, security: dict[str, str]) -> None:
    for name, value in security.items():
        monkeypatch.setenv(f"KNOCKON_{name}", value)


@pytest.mark.parametrize("mechanism", ["PLAIN", "SCRAM-SHA-512"])
async def test_a_user_with_the_password_is_accepted(
    broker, ledger, topic, security, monkeypatch, mechanism
):
    set_all(monkeypatch, security | {"KAFKA_SASL_MECHANISM": mechanism})
    inside = find_broker(Settings())
    assert inside is not None
    async with topic_on(inside) as topic:
        told = settings(inside, topic.name, security=inside.security)
        await topic.send("a")
        async with running(KafkaConsumer(told, ledger.ingest, ledger.positions)):
            await ledger.until(events=1)

    assert ledger.notes == ["a"]
    assert PASSWORD not in repr(told)
    assert PASSWORD not in repr(Settings())


async def test_a_wrong_password_is_reported_and_retried_with_backoff(
    broker, ledger, topic, security, monkeypatch, caplog
):
    set_all(monkeypatch, security | {"KAFKA_SASL_PASSWORD": "tr0ub4dor"})
    outside = find_broker(Settings())
    assert outside is not None
    told = settings(outside, topic.name, security=outside.security)
    consumer, stop = KafkaConsumer(told, ledger.ingest, ledger.positions), asyncio.Event()
    lines = []

    def read(logger, method, line):
        lines.append(line)
        if len(lines) == 3:
            stop.set()
        raise structlog.DropEvent

    structlog.configure(processors=[read])
    # Another test in this process may have left a logger bound to the processors of then.
    monkeypatch.setattr(consumers.kafka.consumer, "_log", structlog.get_logger())
    try:
        await consumer.run(stop)
    finally:
        structlog.reset_defaults()

    assert {line["event"] for line in lines} == {"interrupted, joining again"}
    assert len(caplog.messages) == 3
    assert all("invalid credentials" in line for line in caplog.messages)
    assert "tr0ub4dor" not in f"{lines} {caplog.text}"


def test_a_missing_setting_is_reported(broker, security, monkeypatch):
    set_all(monkeypatch, security | {"KAFKA_SASL_PASSWORD": ""})
    with pytest.raises(InvalidInput, match="KNOCKON_KAFKA_SASL_PASSWORD"):
        kafka_security(Settings())


def test_a_missing_file_is_reported():
    wrong = Settings(kafka_security_protocol="SSL", kafka_ssl_ca="/nowhere/ca.pem")
    with pytest.raises(InvalidInput, match="KNOCKON_KAFKA_SSL_CA"):
        kafka_security(wrong)


def test_settings_do_not_show_a_password():
    secret = Settings(kafka_sasl_password=SecretStr("hunter2"))
    assert "hunter2" not in f"{secret!r} {secret.model_dump_json()}"
