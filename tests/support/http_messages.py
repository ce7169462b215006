"""Requests as sent by other systems, for each format, and the sources that read them."""

import hmac
from base64 import b64decode, b64encode
from collections.abc import Mapping
from dataclasses import dataclass, field
from hashlib import sha256
from typing import Any

import msgspec

from tests.support.worlds import source

JSON = {"content-type": "application/json"}
SECRET = "whsec_MfKQ9r8GKYqrTwjUPD8ILPZIo2LaLaSw"
"""The secret in the example of Standard Webhooks."""
DAY, NEXT = "2013-02-13", "2013-02-14"


@dataclass(frozen=True)
class Sample:
    """A request about DAY of the dataset `a`, and the options of the source that reads it."""

    body: bytes
    options: Mapping[str, Any]
    headers: Mapping[str, str] = field(default_factory=lambda: JSON)


def signature(content: bytes) -> str:
    """The signature of `id.timestamp.body` with SECRET."""
    key = b64decode(SECRET.removeprefix("whsec_"))
    return "v1," + b64encode(hmac.new(key, content, sha256).digest()).decode()


def posted(dataset: str = "a", /, endpoint: str = "in", **options: Any) -> dict[str, Any]:
    """A source job with an endpoint."""
    return source(dataset, source={"kind": "http", "endpoint": endpoint, **options})


def encoded(value: object) -> bytes:
    return msgspec.json.encode(value)


def cloudevent(id_: str = "1", day: str = DAY, **more: Any) -> dict[str, Any]:
    return {
        "specversion": "1.0",
        "id": id_,
        "source": "/loader",
        "type": "com.example.flights.loaded",
        "subject": "a",
        "time": "2013-02-14T00:00:00Z",
        "data": {"partitions": [day]},
        **more,
    }


def debezium(day: str = DAY, lsn: int = 25660912, **more: Any) -> dict[str, Any]:
    return {
        "before": None,
        "after": {"id": 1, "dt": day, "amount": 5},
        "source": {
            "version": "3.6.3.Final",
            "connector": "postgresql",
            "name": "shop",
            "ts_ms": 1795419009756,
            "snapshot": "false",
            "db": "postgres",
            "sequence": f'[null,"{lsn}"]',
            "schema": "public",
            "table": "a",
            "txId": 903,
            "lsn": lsn,
            "xmin": None,
        },
        "transaction": None,
        "op": "c",
        "ts_ms": 1795419010012,
        **more,
    }


def s3(day: str = DAY, sequencer: str = "0055AED6DCD90281E5", **more: Any) -> dict[str, Any]:
    """A notification by Amazon S3."""
    return {
        "Records": [
            {
                "eventVersion": "2.1",
                "eventSource": "aws:s3",
                "awsRegion": "us-west-2",
                "eventTime": "2013-02-14T00:00:00.000Z",
                "eventName": "ObjectCreated:Put",
                "userIdentity": {"principalId": "AIDAJDPLRKLG7UEXAMPLE"},
                "requestParameters": {"sourceIPAddress": "127.0.0.1"},
                "responseElements": {"x-amz-request-id": "C3D13FE58DE4C810"},
                "s3": {
                    "s3SchemaVersion": "1.0",
                    "configurationId": "testConfigRule",
                    "bucket": {"name": "lake", "arn": "arn:aws:s3:::lake"},
                    "object": {
                        "key": f"a/dt%3D{day}/x.parquet",
                        "size": 1024,
                        "eTag": "d41d8cd98f00b204e9800998ecf8427e",
                        "sequencer": sequencer,
                    },
                },
            }
        ],
        **more,
    }


def minio(day: str = DAY) -> dict[str, Any]:
    """A webhook of MinIO."""
    return s3(day, EventName="s3:ObjectCreated:Put", Key=f"lake/a/dt={day}/x.parquet")


def event_bridge(day: str = DAY) -> dict[str, Any]:
    """An event of S3 by EventBridge, as sent to an API destination."""
    return {
        "version": "0",
        "id": "17793124-05d4-b198-2fde-7ededc63b103",
        "detail-type": "Object Created",
        "source": "aws.s3",
        "time": "2013-02-14T00:00:00Z",
        "detail": {
            "version": "0",
            "bucket": {"name": "lake"},
            "object": {"key": f"a/dt={day}/x.parquet", "size": 5, "sequencer": "00617F08299329D1"},
        },
    }


def pubsub(day: str = DAY, id_: str = "2070443601311540", **attributes: str) -> dict[str, Any]:
    """A notification of Google Cloud Storage, pushed by Pub/Sub."""
    return {
        "message": {
            "attributes": {
                "bucketId": "lake",
                "eventTime": "2013-02-14T00:00:00.000000Z",
                "eventType": "OBJECT_FINALIZE",
                "notificationConfig": "projects/_/buckets/lake/notificationConfigs/1",
                "objectGeneration": "1360800000000000",
                "objectId": f"a/dt={day}/x.parquet",
                "payloadFormat": "JSON_API_V1",
                **attributes,
            },
            "data": b64encode(b'{"kind": "storage#object"}').decode(),
            "messageId": id_,
            "message_id": id_,
            "publishTime": "2013-02-14T00:00:01.000Z",
        },
        "subscription": "projects/shop/subscriptions/knockon",
    }


def openlineage(day: str = DAY, time: str = "2013-02-14T00:00:00.000Z", **more: Any) -> Any:
    partitions = {"type": "partition", "partitions": [{"dimensions": {"dt": day}}]}
    return {
        "eventType": "COMPLETE",
        "eventTime": time,
        "producer": "https://github.com/OpenLineage/OpenLineage/tree/1.54.0/client/python",
        "schemaURL": "https://openlineage.io/spec/2-0-2/OpenLineage.json#/$defs/RunEvent",
        "run": {"runId": "01941f29-7c00-7087-8906-40e512c257bd"},
        "job": {"namespace": "loads", "name": "nightly"},
        "outputs": [
            {
                "namespace": "db",
                "name": "public.a",
                "outputFacets": {"subset": {"outputCondition": partitions}},
            }
        ],
        **more,
    }


_S3 = {"format": "s3", "pattern": "a/dt={dt}/"}
_CLOUDEVENTS = {"format": "cloudevents"}

SAMPLES: Mapping[str, Sample] = {
    "knockon": Sample(encoded({"dataset": "a", "partitions": [DAY], "id": "1"}), {}),
    "structured": Sample(
        encoded(cloudevent()), _CLOUDEVENTS, {"content-type": "application/cloudevents+json"}
    ),
    "binary": Sample(
        encoded({"partitions": [DAY]}),
        _CLOUDEVENTS,
        {
            "Content-Type": "application/json",
            "ce-specversion": "1.0",
            "ce-id": "1",
            "ce-source": "/loader",
            "ce-type": "com.example.flights.loaded",
            "ce-subject": "a",
        },
    ),
    "batched": Sample(
        encoded([cloudevent()]),
        _CLOUDEVENTS,
        {"content-type": "application/cloudevents-batch+json"},
    ),
    "debezium": Sample(encoded(debezium()), {"format": "debezium"}),
    "debezium with schemas": Sample(
        encoded({"schema": None, "payload": debezium()}), {"format": "debezium"}
    ),
    "s3": Sample(encoded(s3()), _S3),
    "minio": Sample(encoded(minio()), _S3),
    "event bridge": Sample(encoded(event_bridge()), _S3),
    "pub/sub": Sample(encoded(pubsub()), {"format": "s3", "pattern": "gs://lake/a/dt={dt}/"}),
    "openlineage": Sample(
        encoded(openlineage()),
        {"format": "openlineage", "namespace": "db", "name": "public.{dataset}"},
    ),
}
"""Requests whose messages have identities."""
