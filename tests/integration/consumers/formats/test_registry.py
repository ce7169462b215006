"""Requests for schemas, and the handling of messages while the registry is unavailable."""

from pathlib import Path

import pytest

from consumers.formats.confluent import AvroSchema, JsonSchema
from consumers.formats.reading import Reader
from consumers.kafka import KafkaConsumer
from consumers.schema_registry import Registry
from engine.embedded.broker import Broker
from engine.errors import InvalidInput, ServiceUnavailable
from engine.store.database import Database
from tests.support.bindings import bound
from tests.support.kafka import Ledger, running, settings, topic_on
from tests.support.registries import FakeRegistry, avro, framed, registry

MONEY = {"type": "record", "name": "Money", "fields": [{"name": "cents", "type": "long"}]}
SALE = {
    "type": "record",
    "name": "Sale",
    "fields": [{"name": "ordered_at", "type": {"type": "int", "logicalType": "date"}}],
}


@pytest.fixture
def fake() -> FakeRegistry:
    with registry() as found:
        yield found


async def test_a_schema_is_fetched_once(fake: FakeRegistry) -> None:
    fake.put(1, SALE)
    fake.put(2, {"type": "object"}, "JSON")
    here = Registry(fake.url)

    for _ in range(2):
        await here.load([framed(1, b""), framed(2, b""), framed(1, b"x"), None, b"{}"])

    assert fake.asked == ["/schemas/ids/1", "/schemas/ids/2"]
    assert isinstance(here.schemas.by_id[1], AvroSchema)
    assert isinstance(here.schemas.by_id[2], JsonSchema)


async def test_referenced_schemas_are_fetched(fake: FakeRegistry) -> None:
    line = {"type": "record", "name": "Line", "fields": [{"name": "price", "type": "Money"}]}
    bill = {"type": "record", "name": "Bill", "fields": [{"name": "line", "type": "Line"}]}
    to_money = {"name": "Money", "subject": "money", "version": 3}
    fake.put_subject("money", 3, MONEY)
    fake.put_subject("line", 1, line, [to_money])
    fake.put(1, bill, references=[{"name": "Line", "subject": "line", "version": 1}])
    here = Registry(fake.url)

    await here.load([framed(1, b"")])

    schema = here.schemas.by_id[1]
    assert isinstance(schema, AvroSchema)
    assert schema.read(b"\x0a") == {"line": {"price": {"cents": 5}}}


async def test_a_transient_failure_of_the_registry_is_retried(fake: FakeRegistry) -> None:
    fake.put(1, SALE)
    fake.failures = 2
    here = Registry(fake.url)

    await here.load([framed(1, b"")])

    assert isinstance(here.schemas.by_id[1], AvroSchema)
    assert len(fake.asked) == 3


@pytest.mark.parametrize("status", [400, 403, 404, 422])
async def test_a_refused_id_is_no_outage(fake: FakeRegistry, status: int) -> None:
    """Garbage may look like the id of a schema that cannot exist."""
    fake.put(1, SALE)
    fake.unknown = status
    here = Registry(fake.url)
    await here.load([framed(2**32 - 1, b""), framed(1, b"")])
    assert isinstance(here.schemas.by_id[1], AvroSchema)
    assert f"({status})" in str(here.schemas.by_id[2**32 - 1])


async def test_the_user_and_the_password_are_sent(
    fake: FakeRegistry, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    fake.put(1, SALE)
    fake.password = "us:secret"
    netrc = tmp_path / "netrc"
    netrc.write_text("machine 127.0.0.1 login us password secret\n")
    netrc.chmod(0o600)

    with pytest.raises(ServiceUnavailable) as refused:
        await Registry(fake.url.replace("://", "://us:guess@")).load([framed(1, b"")])
    await Registry(fake.url.replace("://", "://us:secret@")).load([framed(1, b"")])
    monkeypatch.setenv("NETRC", str(netrc))
    await Registry(fake.url).load([framed(1, b"")])

    assert "guess" not in str(refused.value)
    assert len(fake.asked) == 3  # an invalid password is not retried


async def test_a_password_is_read_from_the_environment(
    fake: FakeRegistry, monkeypatch: pytest.MonkeyPatch
) -> None:
    fake.put(1, SALE)
    fake.password = "us:p/@ss:%41"
    address = fake.url.replace("://", "://us:${REGISTRY}@")
    with pytest.raises(InvalidInput, match="set KNOCKON_SECRET_REGISTRY in the environment"):
        Registry(address)

    monkeypatch.setenv("KNOCKON_SECRET_REGISTRY", "p/@ss:%41")
    here = Registry(address)
    await here.load([framed(1, b"")])

    assert isinstance(here.schemas.by_id[1], AvroSchema)


async def test_messages_with_a_missing_schema_are_rejected_until_it_exists(
    fake: FakeRegistry,
) -> None:
    here = Registry(fake.url)
    fake.put(2, {}, "PROTOBUF")

    await here.load([framed(1, b""), framed(2, b"")])
    missing, unreadable = here.schemas.by_id[1], here.schemas.by_id[2]
    fake.put(1, SALE)
    await here.load([framed(1, b"")])

    assert "has no /schemas/ids/1" in str(missing)
    assert unreadable == "its type is PROTOBUF; use Avro or JSON Schema"
    assert isinstance(here.schemas.by_id[1], AvroSchema)


async def test_messages_wait_while_the_registry_is_unavailable(
    database: Database, broker: Broker, fake: FakeRegistry
) -> None:
    fake.put(1, SALE)
    fake.failures = 5  # above the retries within one load
    here = Registry(fake.url)
    read = bound("record", schemas=here.schemas)
    ledger = await Ledger.on(database)
    async with topic_on(broker) as topic:
        readers = {topic.name: Reader(read, preload=here.load)}
        consumer = KafkaConsumer(
            settings(broker, topic.name, readers=readers), ledger.ingest, ledger.positions
        )
        await topic.send_bytes(framed(1, avro(SALE, {"ordered_at": 20455})))
        await topic.send_bytes(framed(9, b""))
        async with running(consumer):
            await ledger.until(events=1, rejections=1)

    [received] = [event for batch in ledger.batches for event in batch.received]
    assert received.event.partitions == ("2026-01-02",)
    assert "schema 9 is not available" in ledger.rejections[0][3]
    assert len(fake.asked) > 5
