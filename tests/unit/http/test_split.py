"""Division of requests into messages."""

from typing import Any

import msgspec
import pytest

from consumers.http.message import MAX_MESSAGES, HttpMessage, http_request
from consumers.http.split import split
from engine.errors import InvalidInput
from tests.support.http_messages import (
    DAY,
    JSON,
    SAMPLES,
    cloudevent,
    debezium,
    encoded,
    openlineage,
    pubsub,
    s3,
)

STRUCTURED = {"content-type": "application/cloudevents+json"}
BATCH = {"content-type": "Application/CloudEvents-Batch+JSON; charset=utf-8"}
BINARY = {"ce-specversion": "1.0", "ce-id": "1", "ce-source": "/loader", "ce-type": "t"}
ARRAYS = ("knockon", "cloudevents", "debezium", "record", "openlineage")
FORMATS = (*ARRAYS, "s3", "plug_in")


def messages(format_: str, body: bytes, **headers: str) -> list[HttpMessage]:
    named = {name.replace("_", "-"): text for name, text in headers.items()}
    return split(format_, http_request(named, body))


def message(format_: str, body: Any, **headers: str) -> HttpMessage:
    [only] = messages(format_, body if isinstance(body, bytes) else encoded(body), **headers)
    return only


@pytest.mark.parametrize("format_", ARRAYS)
def test_an_array_is_divided_without_changing_its_elements(format_: str) -> None:
    body = b' [{"n": 1e999},\n{"n" : 123456789012345678901234567890}, 3, "\\ud800" ] '
    values = [each.value for each in messages(format_, body)]
    assert values == [
        b'{"n": 1e999}',
        b'{"n" : 123456789012345678901234567890}',
        b"3",
        b'"\\ud800"',
    ]


@pytest.mark.parametrize("format_", FORMATS)
@pytest.mark.parametrize(
    "body",
    [
        b"{",
        b"[",
        b"[1,]",
        b"[1 2]",
        b'["\\ud800",]',
        b"[{}",
        b"\xff\xfe",
        b"\0\0\0\0\1",
        b"[" * 100_000,
        b"nul",
        b"[] []",
    ],
)
def test_a_malformed_body_is_a_single_message(format_: str, body: bytes) -> None:
    assert message(format_, body).value == body


@pytest.mark.parametrize("format_", FORMATS)
def test_an_empty_body_is_a_message_without_a_value(format_: str) -> None:
    assert message(format_, b"") == HttpMessage(None, {}, None)


@pytest.mark.parametrize("format_", FORMATS)
def test_an_empty_array_is_a_single_message_to_be_rejected(format_: str) -> None:
    assert message(format_, b"[]").value == b"[]"


def test_a_batch_of_cloudevents_may_be_empty() -> None:
    assert messages("cloudevents", b"[]", content_type=BATCH["content-type"]) == []


def test_a_plug_in_gets_the_whole_body() -> None:
    assert message("plug_in", b"[1, 2]").value == b"[1, 2]"


def test_too_many_messages_are_refused() -> None:
    body = b"[" + b",".join([b"1"] * (MAX_MESSAGES + 1)) + b"]"
    with pytest.raises(InvalidInput, match="10001 messages: send at most 10000"):
        messages("debezium", body)
    assert len(messages("debezium", body[:-3] + b"]")) == MAX_MESSAGES


def test_headers_that_formats_do_not_read_are_dropped() -> None:
    secret = {"Authorization": "Bearer kn_x_y", "Cookie": "s", "webhook-signature": "v1,x"}
    for format_ in FORMATS:
        [only] = split(format_, http_request({**JSON, **BINARY, **secret}, b"{}"))
        assert {name.partition("_")[0] for name in only.headers} <= {"content-type", "ce"}


def test_the_events_of_a_batch_are_structured() -> None:
    events = [cloudevent("1"), cloudevent("2")]
    first, second = messages(
        "cloudevents", encoded(events), **{"content-type": BATCH["content-type"]}
    )
    assert first.headers == second.headers == STRUCTURED
    assert first.value == encoded(events[0])
    assert first.position != second.position


@pytest.mark.parametrize(
    ("header", "attribute"),
    [
        ("a%20b", "a b"),
        ("Euro%20%E2%82%AC%20%F0%9F%98%80", "Euro € 😀"),
        ("%2525", "%25"),
        ("100%", "100%"),
        ("%zz", "%zz"),
        ('"a \\"b\\" \\\\c"', 'a "b" \\c'),
        ('"', '"'),
        ("%ff", "\\xff"),
        ("%00", "\0"),
    ],
)
def test_attributes_in_headers_are_decoded_once(header: str, attribute: str) -> None:
    read = split("cloudevents", http_request({**BINARY, "CE-Subject": header}, b"{}"))
    assert read[0].headers["ce_subject"] == attribute


def test_attributes_in_the_body_prevail_over_those_in_headers() -> None:
    [only] = split("cloudevents", http_request({**BINARY, **STRUCTURED}, encoded(cloudevent())))
    assert only.headers == STRUCTURED


@pytest.mark.parametrize("name", SAMPLES)
def test_a_repeated_message_has_the_same_identity_and_position(name: str) -> None:
    sample = SAMPLES[name]
    format_ = sample.options.get("format", "knockon")
    first, again = (
        split(format_, http_request({**sample.headers, **more}, sample.body))
        for more in ({}, {"traceparent": "00-1-2-01", "idempotency-key": "other"})
    )
    assert [each.identity for each in first] == [each.identity for each in again]
    assert None not in [each.identity for each in first]
    assert first[0].position == again[0].position


@pytest.mark.parametrize(
    ("format_", "one", "other"),
    [
        ("cloudevents", cloudevent(), cloudevent(traceparent="00-1-2-01")),
        ("debezium", debezium(), debezium(ts_ms=1795419999999)),
        ("debezium", debezium(), {"schema": None, "payload": debezium(ts_ms=1795419999999)}),
        ("s3", pubsub(), {**pubsub(), "deliveryAttempt": 2}),
    ],
)
def test_parts_that_change_with_each_delivery_do_not_count(
    format_: str, one: Any, other: Any
) -> None:
    assert message(format_, one).identity == message(format_, other).identity


@pytest.mark.parametrize(
    ("format_", "one", "other"),
    [
        ("cloudevents", cloudevent("1"), cloudevent("2")),
        ("cloudevents", cloudevent(source="/a"), cloudevent(source="/b")),
        ("debezium", debezium(lsn=1), debezium(lsn=2)),
        ("debezium", debezium(), debezium("2013-02-14")),
        ("debezium", debezium(), debezium(op="r")),
        ("s3", s3(sequencer="01"), s3(sequencer="02")),
        ("s3", pubsub(id_="1"), pubsub(id_="2")),
        ("openlineage", openlineage(), openlineage(time="2013-02-15T00:00:00Z")),
        ("openlineage", openlineage(), openlineage(eventType="FAIL")),
    ],
)
def test_different_messages_have_different_identities(format_: str, one: Any, other: Any) -> None:
    first, second = message(format_, one), message(format_, other)
    assert first.identity is not None
    assert second.identity is not None
    assert first.identity.id != second.identity.id
    assert first.position != second.position


@pytest.mark.parametrize(
    ("format_", "one", "other"),
    [
        ("cloudevents", cloudevent(), cloudevent(day="2013-02-14")),
        ("cloudevents", cloudevent(), cloudevent(subject="b")),
        ("knockon", {"id": "1", "dataset": "a"}, {"id": "1", "dataset": "b"}),
        ("s3", pubsub(), pubsub(objectId="b")),
    ],
)
def test_a_reused_id_is_recognized_by_the_content(format_: str, one: Any, other: Any) -> None:
    first, second = message(format_, one).identity, message(format_, other).identity
    assert first is not None
    assert second is not None
    assert first.id == second.id
    assert first.content != second.content


@pytest.mark.parametrize(
    ("format_", "body"),
    [
        ("knockon", {"dataset": "a"}),
        ("knockon", {"dataset": "a", "id": None}),
        ("record", {"dt": DAY}),
        ("debezium", {"op": "c", "after": {"dt": DAY}}),
        ("openlineage", {"eventType": "COMPLETE"}),
        ("s3", {"Records": [{"eventName": "ObjectCreated:Put", "s3": {"object": {"key": "k"}}}]}),
        ("s3", {"Records": []}),
        ("s3", {"Event": "s3:TestEvent"}),
        ("plug_in", {"id": "1"}),
        ("cloudevents", {"id": "1"}),
    ],
)
def test_a_message_without_an_identity_gets_that_of_its_request(format_: str, body: Any) -> None:
    assert message(format_, body).identity is None
    one = message(format_, body, idempotency_key="k")
    assert one.identity == message(format_, body, idempotency_key="k").identity
    assert one.identity != message(format_, body, idempotency_key="l").identity
    assert one.identity == message(format_, body, idempotency_key="l", webhook_id="k").identity
    assert message(format_, body).position == message(format_, body).position


def test_messages_of_a_request_have_distinct_identities() -> None:
    one, other = messages("record", b'[{"dt": 1}, {"dt": 1}]', idempotency_key="k")
    assert one.position != other.position


def test_a_large_schema_of_debezium_is_not_part_of_the_identity() -> None:
    schema = {"type": "struct", "fields": [{"field": "after", "type": "struct", "fields": []}]}
    wrapped = message("debezium", {"schema": schema, "payload": debezium()})
    assert wrapped.identity == message("debezium", debezium()).identity
    assert msgspec.json.decode(wrapped.value or b"")["schema"] == schema
