"""Messages posted to endpoints: repeated, concurrent, malformed, signed, replayed."""

import asyncio
from base64 import b64encode
from collections.abc import Mapping
from datetime import UTC, datetime, timedelta
from typing import Any

import pytest

from consumers.http.message import HttpMessage, http_request
from consumers.http.signatures import TOLERANCE_SECONDS, keys_of
from consumers.http.split import split
from engine.errors import Forbidden, InvalidInput, ServiceUnavailable, UnknownName
from engine.flow.deployment.undeploy import preview_undeploy
from engine.flow.retention.expire import expire
from engine.model.event import SourceEvent
from engine.model.states import KeyScope, Role
from engine.service.caller import Caller
from engine.service.checks.check import CheckVerdict
from engine.service.commands.dead_letters import discard_all, replay_all
from engine.service.commands.ingestion import Ingestion, ingest_messages, ingest_request
from engine.service.commands.invalidations import invalidate
from engine.service.queries.dead_letters import dead_letters
from engine.service.queries.health import inflow
from engine.service.service import Service
from engine.store.database import Database
from tests.support.http_messages import (
    DAY,
    JSON,
    NEXT,
    SAMPLES,
    SECRET,
    Sample,
    cloudevent,
    debezium,
    encoded,
    openlineage,
    posted,
    s3,
    signature,
)
from tests.support.worlds import World, job

STORED = """SELECT d.name, i.partition_key, i.events, i.source_event ->> 'stream' AS stream
            FROM data_invalidations i JOIN datasets d ON d.id = i.dataset_uuid
            WHERE i.source_event ->> 'stream' LIKE 'http/%%'
            ORDER BY i.created_at, i.partition_key"""
STATE = """SELECT (SELECT count(*) FROM data_invalidations
                   WHERE source_event ->> 'stream' LIKE 'http/%%') AS invalidations,
                  (SELECT count(*) FROM dead_letters) AS letters,
                  (SELECT count(*) FROM idempotency_keys) AS keys"""
NOW = datetime(2013, 2, 14, tzinfo=UTC)
BATCH = {"content-type": "application/cloudevents-batch+json"}
LINEAGE = {"format": "openlineage", "namespace": "db", "name": "public.{dataset}"}


async def made(database: Database, **options: Any) -> World:
    return await World.made(database, posted(**options), job("b", "a"))


async def post(
    world: World,
    body: Any,
    headers: Mapping[str, str] = JSON,
    endpoint: str = "in",
    caller: Caller | None = None,
    **more: Any,
) -> Ingestion:
    body = body if isinstance(body, bytes) else encoded(body)
    return await ingest_request(
        caller or world.caller, world.service, endpoint, headers, body, **more
    )


async def state(world: World) -> tuple[int, int, int]:
    [row] = await world.rows(STATE)
    return row["invalidations"], row["letters"], row["keys"]


@pytest.mark.parametrize("sample", SAMPLES.values(), ids=SAMPLES)
async def test_a_request_of_each_format_takes_effect_once(
    database: Database, sample: Sample
) -> None:
    world = await made(database, **sample.options)
    first = await post(world, sample.body, sample.headers)
    assert (first.messages, first.events, first.repeated, first.rejected) == (1, 1, 0, ())
    [row] = await world.rows(STORED)
    assert [*row.values()] == ["a", DAY, 1, "http/in"]
    before = await state(world)

    again = await post(world, sample.body, sample.headers)
    assert (again.messages, again.events, again.repeated, again.rejected) == (1, 0, 1, ())
    assert again.invalidations == first.invalidations
    assert await state(world) == before

    await world.plan()
    assert await world.tasks() == {"queued": [f"b[{DAY}]"]}


@pytest.mark.parametrize("sample", SAMPLES.values(), ids=SAMPLES)
async def test_concurrent_deliveries_take_effect_once(database: Database, sample: Sample) -> None:
    world = await made(database, **sample.options)
    done = await asyncio.gather(*(post(world, sample.body, sample.headers) for _ in range(6)))
    assert sorted(each.repeated for each in done) == [0, 1, 1, 1, 1, 1]
    assert len({each.invalidations for each in done}) == 1
    assert (await state(world))[0] == 1


async def test_concurrent_batches_in_opposite_order_do_not_deadlock(database: Database) -> None:
    world = await made(database, format="cloudevents")
    events = [cloudevent(str(n)) for n in range(50)]
    done = await asyncio.gather(
        *(post(world, batch, BATCH) for batch in (events, events[::-1], events[20:], events[::2]))
    )
    assert sum(each.events for each in done) == 50
    rows = await world.rows(STORED)
    assert sum(row["events"] for row in rows) == 50


async def test_a_delivery_waits_for_a_concurrent_one_that_is_rolled_back(
    database: Database,
) -> None:
    world = await made(database, format="cloudevents")
    body = cloudevent()
    await post(world, cloudevent("other"))  # loads the endpoint
    async with world.conn() as conn, conn.transaction(force_rollback=True):
        await conn.execute(
            "INSERT INTO knockon.idempotency_keys SELECT org_id, left(key, -32) || %s, "
            "request_hash, '{}' FROM knockon.idempotency_keys",
            [position(body)],
        )
        posting = asyncio.create_task(post(world, body))
        done, _ = await asyncio.wait([posting], timeout=0.5)
        assert not done
    assert (await posting).events == 1


def position(body: Any) -> str:
    [message] = split("cloudevents", http_request({}, encoded(body)))
    return message.position


async def test_messages_without_identities_are_changes_of_their_own(database: Database) -> None:
    world = await made(database, dataset="a")
    for _ in range(2):
        assert (await post(world, {"partitions": [DAY]})).repeated == 0
    assert await state(world) == (2, 0, 0)
    for _ in range(2):
        await post(world, [{"partitions": [DAY]}] * 2, {**JSON, "Idempotency-Key": "k"})
    assert await state(world) == (3, 0, 2)


async def test_a_message_repeated_within_a_request_counts_once(database: Database) -> None:
    world = await made(database, format="cloudevents")
    done = await post(world, [cloudevent(), cloudevent()], BATCH)
    assert (done.messages, done.events, done.repeated) == (2, 1, 1)
    assert (await world.rows(STORED))[0]["events"] == 1


async def test_good_messages_of_a_batch_are_ingested_and_bad_ones_become_letters(
    database: Database,
) -> None:
    world = await made(database, format="cloudevents")
    batch = [
        cloudevent("1"),
        {"id": "2"},
        cloudevent("3", subject="nothing"),
        cloudevent("4", day="1999-01-01"),
        "no event",
        cloudevent("6", day=NEXT),
        cloudevent("7", subject="a\0"),
        cloudevent("8", subject="a" * 501),
    ]
    first = await post(world, batch, BATCH)
    assert (first.messages, first.repeated, len(first.invalidations)) == (8, 0, 1)
    assert [each.index for each in first.rejected] == [1, 2, 3, 4, 6, 7]
    errors = [each.error for each in first.rejected]
    assert "specversion 1.0" in errors[0]
    assert "nothing" in errors[1]
    assert "1999-01-01" in errors[2]
    assert "NUL" in errors[4]
    [row] = await world.rows(STORED)
    assert row["partition_key"] == f"{DAY}..{NEXT}"
    letters = await dead_letters(world.caller, world.service, limit=10)
    assert {letter.stream for letter in letters} == {"http/in"}
    assert {letter.position for letter in letters} == {each.position for each in first.rejected}
    before = await state(world)

    again = await post(world, batch, BATCH)
    assert again.invalidations == first.invalidations
    assert {(each.index, each.error) for each in again.rejected} == {
        (each.index, each.error) for each in first.rejected
    }
    assert await state(world) == before


HOSTILE = {
    "not JSON": b"{",
    "not UTF-8": b'{"dataset": "\xff"}',
    "deeply nested": b"[" * 100_000,
    "NUL": b'{"dataset": "a\\u0000"}',
    "NUL bytes": b"\0" * 100,
    "lone surrogate": b'{"dataset": "a", "note": "\\ud800"}',
    "huge number": b'{"dataset": "a", "rows": {"x": 1' + b"0" * 5000 + b"}}",
    "huge exponent": b'{"dataset": "a", "rows": {"x": 1e999999}}',
    "empty": b"",
    "empty array": b"[]",
    "null": b"null",
    "over a mebibyte": b'{"dataset": "' + b"a" * (1 << 20) + b'"}',
}


@pytest.mark.parametrize("format_", ["knockon", "cloudevents", "debezium", "s3", "openlineage"])
async def test_a_hostile_body_becomes_one_letter_with_its_payload(
    database: Database, format_: str
) -> None:
    pattern = {"pattern": "a/{dt}"} if format_ == "s3" else {}
    world = await made(database, format=format_, **pattern)
    for name, body in HOSTILE.items():
        if (format_, name) == ("debezium", "empty"):
            continue  # a tombstone
        first = await post(world, body)
        assert [each.index for each in first.rejected] == [0], name
        again = await post(world, body)
        assert again.rejected == first.rejected, name
        [newest] = await world.rows("SELECT payload FROM dead_letters ORDER BY id DESC LIMIT 1")
        assert newest["payload"] == (body or None), name
    assert (await state(world))[0] == 0


async def test_hostile_headers_become_a_letter(database: Database) -> None:
    world = await made(database, format="cloudevents")
    headers = {"ce-specversion": "1.0", "ce-id": "%00", "ce-source": "\udcff", "ce-type": "%ff"}
    first = await post(world, b"", headers)
    assert [each.index for each in first.rejected] == [0]
    assert (await post(world, b"", headers)).rejected == first.rejected


async def test_secrets_in_headers_are_not_stored(database: Database) -> None:
    world = await made(database, format="cloudevents")
    await post(world, b"{", {"Authorization": "Bearer kn_x_y", "ce-specversion": "1.0"})
    [letter] = await dead_letters(world.caller, world.service, limit=2)
    assert letter.headers == {"ce_specversion": "1.0"}


async def test_a_letter_is_replayed_after_the_dag_is_corrected(database: Database) -> None:
    world = await made(database, format="cloudevents", dataset="a")
    body = cloudevent(subject=None, data={"partitions": ["2014-06-01"]})
    first = await post(world, body)
    assert len(first.rejected) == 1
    [failed] = await replay_all(world.caller, world.service)
    assert failed.error == first.rejected[0].error

    later = {"dt": {"time": "day", "start": "2013-01-01", "end": "2015-01-01"}}
    corrected = posted(format="cloudevents", dataset="a")
    corrected["outputs"][0]["partitioning"] = later
    await world.deploy(corrected, job("b", "a", partitioning=later))
    [done] = await replay_all(world.caller, world.service)
    assert (done.error, len(done.invalidations)) == (None, 1)
    before = await state(world)
    again = await post(world, body)  # the sender tries once more
    assert (again.repeated, again.rejected) == (1, ())
    assert await state(world) == before


async def test_a_repetition_does_not_reopen_a_discarded_letter(database: Database) -> None:
    world = await made(database, format="cloudevents")
    await post(world, cloudevent(subject="nothing"))
    assert await discard_all(world.caller, world.service, stream="http/in", reason="typo") == 1
    again = await post(world, cloudevent(subject="nothing"))
    assert (again.repeated, again.rejected) == (1, ())
    assert await dead_letters(world.caller, world.service, limit=2) == []


async def test_a_corrected_message_may_keep_its_id(database: Database) -> None:
    world = await made(database, format="cloudevents")
    assert len((await post(world, cloudevent(subject="nothing"))).rejected) == 1
    corrected = await post(world, cloudevent())
    assert (corrected.events, corrected.repeated, corrected.rejected) == (1, 0, ())
    assert (await post(world, cloudevent())).repeated == 1


async def test_another_message_with_the_same_id_is_rejected_not_lost(database: Database) -> None:
    world = await made(database, format="cloudevents")
    await post(world, cloudevent())
    other = await post(world, [cloudevent(day=NEXT), cloudevent()], BATCH)
    assert (other.repeated, [each.index for each in other.rejected]) == (1, [0])
    assert "has the same id" in other.rejected[0].error
    [done] = await replay_all(world.caller, world.service)
    assert len(done.invalidations) == 1
    assert [row["partition_key"] for row in await world.rows(STORED)] == [DAY, NEXT]


async def test_endpoints_of_another_org_are_unknown(database: Database) -> None:
    world = await made(database)
    stranger = Caller.local(await Service(world.database).org("other", create=True), "eve")
    assert (await post(world, {"dataset": "a"})).events == 1
    for name in ("in", "nowhere"):
        with pytest.raises(UnknownName, match=f"there is no endpoint '{name}' in this org: deploy"):
            await post(world, {"dataset": "a"}, endpoint=name, caller=stranger)
    assert await state(world) == (1, 0, 0)


async def test_equal_ids_at_two_endpoints_and_in_two_orgs_are_different(
    database: Database,
) -> None:
    world = await World.made(database, posted(), posted("c", "other"))
    for endpoint, name in (("in", "a"), ("other", "c")):
        done = await post(world, {"dataset": name, "id": "1"}, endpoint=endpoint)
        assert (done.events, done.repeated) == (1, 0)


async def test_a_key_for_ingestion_suffices_and_a_reader_is_refused(database: Database) -> None:
    world = await made(database)
    ingesting = Caller(world.caller.org, "ann", Role.WRITER, scopes=frozenset({KeyScope.INGEST}))
    assert (await post(world, {"dataset": "a"}, caller=ingesting)).events == 1
    with pytest.raises(Forbidden):
        await post(world, {"dataset": "a"}, caller=Caller(world.caller.org, "bob", Role.READER))


async def test_a_deploy_changes_how_messages_are_read(database: Database) -> None:
    world = await made(database, dataset="a")
    assert (await post(world, {"partitions": [DAY]})).events == 1
    await world.deploy(posted(format="debezium"), job("b", "a"))
    done = await post(world, debezium(NEXT))
    assert (done.events, done.rejected) == (1, ())
    await world.deploy(posted(endpoint="renamed"), job("b", "a"))
    with pytest.raises(UnknownName):
        await post(world, debezium(lsn=2))
    assert (await post(world, {"dataset": "a"}, endpoint="renamed")).events == 1


async def test_sources_with_one_endpoint_share_its_messages(database: Database) -> None:
    lineage = {**LINEAGE, "unknown": "ignore"}
    world = await World.made(database, posted(**lineage), posted("c", **lineage))
    assert (await post(world, openlineage())).events == 1
    mixed = await World.made(
        database, posted(signing_secret="${A}"), posted("c", signing_secret="${B}")
    )
    with pytest.raises(ServiceUnavailable, match="set the same signing_secret in all"):
        await post(mixed, {"dataset": "a"})


async def test_a_run_that_ends_without_naming_an_announced_output(database: Database) -> None:
    world = await made(database, **LINEAGE)
    start = openlineage(eventType="START")
    end = openlineage(time="2013-02-14T01:00:00Z", outputs=[])
    for _ in range(2):
        assert (await post(world, start)).invalidations == ()
    done = await post(world, [end], {"content-type": "application/json"})
    assert len(done.invalidations) == 1
    assert (await post(world, end)).repeated == 1
    [row] = await world.rows(STORED)
    assert row["partition_key"] == DAY


async def test_an_unnamed_dataset_is_registered_by_a_rule(database: Database) -> None:
    rule = {"dag": "lake", "name": "public.{table}", "dataset": "lake_{table}"}
    world = await World.made(database, posted("c", **{**LINEAGE, "discover": rule}))
    done = await post(world, openlineage())
    assert (done.events, done.rejected) == (1, ())
    [row] = await world.rows(STORED)
    assert row["name"] == "lake_a"
    other = openlineage(time="2013-02-15T00:00:00Z")
    assert (await post(world, other)).events == 1


async def test_messages_of_several_objects_are_one_message(database: Database) -> None:
    world = await made(database, format="s3", pattern="a/dt={dt}/")
    records = [*s3()["Records"], *s3(NEXT, "0055AED6DCD90281E6")["Records"]]
    done = await post(world, {"Records": records})
    assert (done.messages, done.events) == (1, 2)
    assert (await post(world, {"Records": records})).repeated == 1


def signed(body: bytes, id_: str = "msg_1", at: datetime = NOW) -> dict[str, str]:
    sent = str(int(at.timestamp()))
    content = b"%b.%b.%b" % (id_.encode(), sent.encode(), body)
    return {
        **JSON,
        "Webhook-Id": id_,
        "Webhook-Timestamp": sent,
        "Webhook-Signature": signature(content),
    }


@pytest.fixture
def secret(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("KNOCKON_SECRET_SHOP_WEBHOOK", SECRET)


@pytest.mark.usefixtures("secret")
async def test_a_replayed_webhook_changes_nothing(database: Database) -> None:
    world = await made(database, dataset="a", signing_secret="${SHOP_WEBHOOK}")
    body = encoded({"partitions": [DAY]})
    assert (await post(world, body, signed(body), now=NOW)).events == 1
    # The sender signs each attempt with a new time.
    later = NOW + timedelta(seconds=100)
    for headers in (signed(body), signed(body, at=later)):
        again = await post(world, body, {**headers, "Idempotency-Key": "other"}, now=later)
        assert (again.events, again.repeated) == (0, 1)
    assert (await state(world))[0] == 1
    assert (await post(world, body, signed(body, "msg_2"), now=NOW)).events == 1


@pytest.mark.usefixtures("secret")
async def test_unsigned_and_old_webhooks_leave_no_trace(database: Database) -> None:
    world = await made(database, dataset="a", signing_secret="${SHOP_WEBHOOK}")
    body = encoded({"partitions": [DAY]})
    too_late = NOW + timedelta(seconds=TOLERANCE_SECONDS + 1)
    attempts: list[tuple[bytes, dict[str, str], datetime]] = [
        (body, dict(JSON), NOW),
        (body + b" ", signed(body), NOW),
        (body, signed(body), too_late),
        (b"{", {**signed(b"{"), "webhook-signature": "v1,x"}, NOW),
    ]
    for sent, headers, now in attempts:
        with pytest.raises(Forbidden):
            await post(world, sent, headers, now=now)
    with pytest.raises(Forbidden, match="requires signatures"):
        await ingest_messages(world.caller, world.service, "in", [HttpMessage(body)])
    assert await state(world) == (0, 0, 0)


@pytest.mark.usefixtures("secret")
async def test_unsigned_attributes_in_headers_are_refused(database: Database) -> None:
    world = await made(database, format="cloudevents", signing_secret="${SHOP_WEBHOOK}")
    binary = SAMPLES["binary"]
    with pytest.raises(InvalidInput, match=r"send the event as application/cloudevents\+json"):
        await post(world, binary.body, {**binary.headers, **signed(binary.body)}, now=NOW)
    body = encoded(cloudevent())
    headers = {**signed(body), "content-type": "application/cloudevents+json"}
    assert (await post(world, body, headers, now=NOW)).events == 1


@pytest.mark.parametrize("value", [None, "not base64"])
async def test_senders_try_again_while_the_secret_is_missing_or_invalid(
    database: Database, monkeypatch: pytest.MonkeyPatch, value: str | None
) -> None:
    if value is not None:
        monkeypatch.setenv("KNOCKON_SECRET_SHOP_WEBHOOK", value)
    world = await made(database, dataset="a", signing_secret="${SHOP_WEBHOOK}")
    body = encoded({"partitions": [DAY]})
    with pytest.raises(ServiceUnavailable, match="endpoint 'in' cannot verify"):
        await post(world, body, signed(body), now=NOW)
    monkeypatch.setenv("KNOCKON_SECRET_SHOP_WEBHOOK", SECRET)
    assert (await post(world, body, signed(body), now=NOW)).events == 1


@pytest.mark.usefixtures("secret")
async def test_a_deploy_changes_the_secret(
    database: Database, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("KNOCKON_SECRET_EARLIER", "whsec_" + b64encode(b"earlier").decode())
    world = await made(database, dataset="a", signing_secret="${EARLIER}")
    body = encoded({"partitions": [DAY]})
    with pytest.raises(Forbidden):
        await post(world, body, signed(body), now=NOW)
    await world.deploy(posted(dataset="a", signing_secret="${SHOP_WEBHOOK}"), job("b", "a"))
    assert (await post(world, body, signed(body), now=NOW)).events == 1
    await world.deploy(posted(dataset="a"), job("b", "a"))
    assert (await post(world, body)).events == 1
    await world.deploy(posted(dataset="a", signing_secret="${EARLIER}"), job("b", "a"))
    with pytest.raises(Forbidden):
        await post(world, body)


@pytest.mark.usefixtures("secret")
async def test_the_database_has_the_name_of_the_secret_only(database: Database) -> None:
    world = await made(database, signing_secret="${SHOP_WEBHOOK}")
    [row] = await world.rows("SELECT source::text FROM jobs WHERE activation = 'source'")
    assert "${SHOP_WEBHOOK}" in row["source"]
    assert b64encode(keys_of(SECRET)[0]).decode() not in row["source"]


async def test_messages_divided_by_the_caller_are_ingested(database: Database) -> None:
    world = await made(database, dataset="a")
    messages = [HttpMessage(encoded({"partitions": [DAY]})), HttpMessage(b"{")]
    done = await ingest_messages(world.caller, world.service, "in", messages)
    assert (done.messages, done.events, [each.index for each in done.rejected]) == (2, 1, [1])


async def test_a_request_without_messages_is_fine(database: Database) -> None:
    world = await made(database, format="cloudevents")
    done = await post(world, b"[]", BATCH)
    assert (done.messages, done.events, done.invalidations, done.rejected) == (0, 0, (), ())


async def test_repetitions_are_recognized_for_the_retention_period(database: Database) -> None:
    world = await made(database, format="cloudevents")
    await post(world, cloudevent())
    await world.change("a", DAY, id="http-in")
    await world.rows("UPDATE idempotency_keys SET used_at = now() - interval '2 days' RETURNING 1")
    for days, is_repeated in ((3, 1), (1, 0)):
        async with world.conn() as conn:
            await expire(conn, 365, 90, days, 30)
        assert (await post(world, cloudevent())).repeated == is_repeated
    assert (await world.change("a", DAY, id="http-in")).is_new is False


async def test_doctor_and_undeploy_list_endpoints(database: Database) -> None:
    world = await made(database)
    [check] = await inflow(world.caller, world.service, None)
    assert (check.name, check.verdict, check.detail) == ("endpoints", CheckVerdict.OK, "in")
    await world.deploy(posted("c", format="missing"), dag="other")
    [check] = await inflow(world.caller, world.service, None)
    assert check.verdict is CheckVerdict.OK  # one format is read
    await world.deploy(posted("c", signing_secret="${A}"), dag="other")
    [check] = await inflow(world.caller, world.service, None)
    assert (check.verdict, "signing_secret" in check.detail) == (CheckVerdict.WARN, True)
    await world.deploy(posted("c", "second"), dag="other")
    async with world.conn() as conn:
        assert (await preview_undeploy(conn, world.org, "other")).endpoints == ("second",)


async def test_manual_requests_cannot_use_the_keys_of_messages(database: Database) -> None:
    world = await made(database)
    event = SourceEvent(dataset="a", partitions=(DAY,), id="http/in/0123", source="http")
    with pytest.raises(InvalidInput, match="does not begin with 'http/'"):
        await invalidate(world.caller, world.service, event)
