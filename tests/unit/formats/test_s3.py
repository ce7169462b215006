"""Notifications of object stores."""

from datetime import date, timedelta
from typing import Any
from urllib.parse import quote_plus

import msgspec
import pytest

from consumers.formats.reading import Reader
from engine.model.event import Delivery, Rejection, Widened
from tests.support.bindings import bound
from tests.support.http_messages import pubsub

SALES = {"dt": {"time": "day"}, "region": {"static": ["eu west", "us"]}}
PATTERN = "sales/dt={dt}/region={region}/"
DAY_US = ("dt=2026-01-02/region=us",)

# As documented by Amazon, without unused fields.
BRIDGE = {
    "version": "0",
    "id": "17793124-05d4-b198-2fde-7ededc63b103",
    "detail-type": "Object Created",
    "source": "aws.s3",
    "account": "111122223333",
    "time": "2021-11-12T00:00:00Z",
    "region": "ca-central-1",
    "resources": ["arn:aws:s3:::lake"],
    "detail": {
        "version": "0",
        "bucket": {"name": "lake"},
        "object": {"key": "", "size": 5, "etag": "b1946ac9", "sequencer": "00617F08299329D189"},
        "request-id": "N4N7GDK58NMKJ12R",
        "reason": "PutObject",
    },
}


def record(key: str, name: str = "ObjectCreated:Put", sequencer: str = "01") -> dict[str, Any]:
    return {
        "eventVersion": "2.1",
        "eventSource": "aws:s3",
        "eventTime": "2026-01-02T00:00:00.000Z",
        "eventName": name,
        "s3": {
            "s3SchemaVersion": "1.0",
            "configurationId": "knockon",
            "bucket": {"name": "lake", "arn": "arn:aws:s3:::lake"},
            "object": {"key": key, "size": 1024, "eTag": "d41d8", "sequencer": sequencer},
        },
    }


def bridged(key: str, name: str = "Object Created") -> dict[str, Any]:
    detail = BRIDGE["detail"]
    assert isinstance(detail, dict)
    return {**BRIDGE, "detail-type": name, "detail": {**detail, "object": {"key": key}}}


def events_of(message: object, pattern: str = PATTERN, **more: Any) -> list[tuple[object, str]]:
    read = bound("s3", SALES, None, pattern=pattern, **more)
    events = read(msgspec.json.encode(message), {}, None)
    assert all(event.columns is None for event in events)
    return [(event.partitions, event.reason + "!" * isinstance(event, Widened)) for event in events]


def records(*listed: dict[str, Any], pattern: str = PATTERN, **more: Any) -> object:
    return events_of({"Records": list(listed)}, pattern, **more)


def test_a_created_or_removed_object_changes_its_partition() -> None:
    key = "sales/dt=2026-01-02/region=us/part-0.parquet"

    assert records(record(key)) == [(DAY_US, "arrival")]
    assert records(record(key, "s3:ObjectCreated:CompleteMultipartUpload")) == [(DAY_US, "arrival")]
    assert records(record(key, "ObjectRemoved:DeleteMarkerCreated")) == [(DAY_US, "change")]
    assert events_of(bridged(key)) == [(DAY_US, "arrival")]
    assert events_of(bridged(key, "Object Deleted")) == [(DAY_US, "change")]


def test_encoded_keys_are_decoded() -> None:
    place = [(("dt=2026-01-02/region=eu west",), "arrival")]

    assert records(record("sales/dt%3D2026-01-02/region%3Deu+west/a%2Bb.csv")) == place
    assert events_of(bridged("sales/dt=2026-01-02/region=eu west/a+b.csv")) == place


REGIONS = {"region": {"dynamic": True}}
BY_REGION = "sales/region={region}/"


def region(key: str, pattern: str = BY_REGION) -> tuple[object, bool]:
    """The key in an object's path, checked for both kinds of notification."""
    read = bound("s3", REGIONS, None, pattern=pattern)
    queued, sent = (
        read(msgspec.json.encode(message), {}, None)
        for message in ({"Records": [record(quote_plus(key, safe="/"))]}, bridged(key))
    )
    [event] = queued
    assert queued == sent
    return event.partitions and event.partitions[0], isinstance(event, Widened)


@pytest.mark.parametrize(
    ("directory", "key"),
    [
        ("A%3AB", "A:B"),
        ("A%253AB", "A%3AB"),  # a percent sign within the value
        ("50%25", "50%"),
        ("eu west", "eu west"),
        ("eu+west", "eu+west"),
        ("%C3%A9", "é"),
        ("é", "é"),
        ("%zz", "%zz"),
    ],
)
def test_values_in_paths_are_escaped_as_in_hive(directory: str, key: str) -> None:
    assert region(f"sales/region={directory}/part-0.parquet") == (key, False)


@pytest.mark.parametrize(
    "directory",
    ["__HIVE_DEFAULT_PARTITION__", "a%2Fb", "a%00b", "%E9"],
)
def test_a_null_or_a_value_without_a_key_may_be_in_any_partition(directory: str) -> None:
    assert region(f"sales/region={directory}/part-0.parquet") == (None, True)


def test_only_directories_with_a_column_name_are_escaped() -> None:
    assert region("sales/A%3AB/part-0.parquet", "sales/{region}/") == ("A%3AB", False)
    assert region("sales/eu-A%3AB/x", "sales/eu-{region}/") == ("A%3AB", False)


def test_objects_of_one_partition_are_one_event() -> None:
    keys = [f"sales/dt=2026-01-0{day}/region=us/{n}" for day in (1, 2) for n in range(3)]

    assert records(*map(record, keys)) == [
        (("dt=2026-01-01/region=us",), "arrival"),
        (DAY_US, "arrival"),
    ]


def test_records_older_than_the_latest_of_an_object_are_ignored() -> None:
    key = "sales/dt=2026-01-02/region=us/a"
    came, went = record(key, sequencer="0A1"), record(key, "ObjectRemoved:Delete", "0A2")

    assert records(went, came) == [(DAY_US, "change")]
    assert records(came, went) == [(DAY_US, "arrival"), (DAY_US, "change")]
    assert len(records(went, record(key, sequencer="0A20"))) == 2  # equal after padding with zeros
    assert len(records(went, record(key + "b", sequencer="0A1"))) == 2


@pytest.mark.parametrize(
    "key",
    [
        "returns/dt=2026-01-02/region=us/a",
        "sales/_SUCCESS",
        "sales/dt=2026-01-02/region=us/_temporary/0/part-0",
        "sales/dt=2026-01-02/region=us/.part-0.crc",
        "sales/dt=2026-01-02/",
    ],
)
def test_foreign_and_hidden_objects_are_ignored(key: str) -> None:
    assert records(record(key)) == []


@pytest.mark.parametrize(
    "name", ["ObjectTagging:Put", "s3:ObjectAccessed:Get", "ObjectRestore:Completed"]
)
def test_events_without_a_change_of_content_are_ignored(name: str) -> None:
    key = "sales/dt=2026-01-02/region=us/a"

    assert records(record(key, name)) == []
    assert events_of(bridged(key, "Object Tags Added")) == []
    assert events_of({"Service": "Amazon S3", "Event": "s3:TestEvent", "Bucket": "lake"}) == []


def test_objects_outside_of_the_pattern_may_be_in_any_partition() -> None:
    assert records(record("sales/readme.txt")) == [(None, "arrival!")]
    assert records(record("sales/dt=soon/region=us/a")) == [(("region=us",), "arrival!")]


def test_a_pattern_may_name_the_bucket_and_the_whole_key() -> None:
    pattern = "s3://lake/{dt}/**/*.csv"
    region = {"region": {"constant": "us"}}

    assert records(record("2026-01-02/a/b/c.csv"), pattern=pattern, partition=region) == [
        (DAY_US, "arrival")
    ]
    assert records(record("2026-01-02/a/b/c.txt"), pattern=pattern, partition=region) == [
        (None, "arrival!")
    ]
    other = "s3://pond/{dt}/**"
    assert records(record("2026-01-02/a"), pattern=other, partition=region) == []


def test_a_key_may_have_a_longer_window() -> None:
    read = bound("s3", {"m": {"time": "month"}}, None, pattern="{m}/*")

    [event] = read(msgspec.json.encode({"Records": [record("2026-01/a")]}), {}, None)

    assert event.partitions == ("2026-01",)


@pytest.mark.parametrize(
    ("value", "why"),
    [
        (b"{", "not a notification of an object store: "),
        (b"{}", "it has neither `Records` nor `detail`"),
        (b'{"Records": [{"eventName": "a"}]}', "missing required field `s3` - at `$.Records[0]`"),
        (None, "null value"),
    ],
)
def test_a_rejection_has_the_reason(value: bytes | None, why: str) -> None:
    outcome = Reader(bound("s3", SALES, pattern=PATTERN)).read(Delivery("s", "1", value, {}))

    assert isinstance(outcome, Rejection)
    assert why in outcome.error


def test_a_message_with_more_events_than_allowed_is_rejected() -> None:
    days = [date(2000, 1, 1) + timedelta(days=number) for number in range(10_001)]
    message = {
        "Records": [
            {
                "eventName": "ObjectCreated:",
                "s3": {"object": {"key": f"sales/dt={day}/region=us/1"}},
            }
            for day in days
        ]
    }
    payload = msgspec.json.encode(message)
    reader = Reader(
        bound("s3", SALES, None, pattern=PATTERN), max_bytes=len(payload), is_bounded=True
    )

    outcome = reader.read(Delivery(stream="t", position="1", value=payload, headers={}))

    assert isinstance(outcome, Rejection)
    assert "the message has 10001 events: send at most 10000" in outcome.error


@pytest.mark.parametrize(
    ("kind", "reason"),
    [
        ("OBJECT_FINALIZE", "arrival"),
        ("OBJECT_DELETE", "change"),
        ("OBJECT_ARCHIVE", "change"),
        ("OBJECT_METADATA_UPDATE", None),
    ],
)
def test_notifications_of_google_cloud_storage(kind: str, reason: str | None) -> None:
    key = "sales/dt=2026-01-02/region=us/x+y.parquet"
    message = msgspec.json.encode(pubsub(objectId=key, eventType=kind))
    for prefix in ("", "gs://lake/"):
        events = bound("s3", SALES, pattern=prefix + PATTERN)(message, {}, None)
        assert [(event.partitions, event.reason) for event in events] == (
            [(DAY_US, reason)] if reason else []
        )
    assert bound("s3", SALES, pattern="s3://lake/" + PATTERN)(message, {}, None) == []
    assert bound("s3", SALES, pattern="gs://other/" + PATTERN)(message, {}, None) == []
