"""Notifications of an object store: an object was created or deleted.

The partition is derived from the object's key. Sources: Amazon S3's event message structure 2.x
(`Records`, also sent by MinIO and others) with URL-encoded keys; S3's EventBridge events (`detail`)
with plain keys; and Google Cloud Storage's notifications as pushed by Pub/Sub (`message`).
"""

import re
from collections.abc import Iterator, Mapping
from typing import NamedTuple
from urllib.parse import unquote_plus

import msgspec

from consumers.formats.binding import Binding, RowPartition
from consumers.formats.confluent import Schemas
from consumers.formats.hive import unescape
from consumers.formats.object_pattern import ObjectPattern
from engine.errors import InvalidEvent
from engine.model.event import SourceEvent
from engine.model.states import Reason

_S3, _GCS = "s3://", "gs://"
_CREATED = re.compile(r"(s3:)?ObjectCreated:|Object Created$|OBJECT_FINALIZE$")
# Events that do not change the content of an object.
_NO_CHANGE = re.compile(
    r"(s3:)?(TestEvent|Object(Tagging|Acl|Restore|Accessed)|LifecycleTransition|Replication"
    r"|IntelligentTiering)|Object (Tags|ACL|Restore|Storage|Access)"
    r"|OBJECT_METADATA_UPDATE$"
)
_HIDDEN = re.compile(r"(^|/)[_.][^/=]*(/|$)|/$")
_OFF_PATTERN = "the object has the pattern's prefix, but does not match the pattern"


class _Bucket(msgspec.Struct, frozen=True):
    name: str = ""


class _Object(msgspec.Struct, frozen=True):
    key: str
    sequencer: str = ""


class _Where(msgspec.Struct, frozen=True):
    object: _Object
    bucket: _Bucket = _Bucket()


class _Record(msgspec.Struct, frozen=True, rename={"name": "eventName"}):
    name: str
    s3: _Where


class _Attributes(
    msgspec.Struct,
    frozen=True,
    rename={"name": "eventType", "bucket": "bucketId", "key": "objectId"},
):
    """The attributes of a notification by Google Cloud Storage."""

    name: str
    bucket: str
    key: str


class _Pushed(msgspec.Struct, frozen=True):
    attributes: _Attributes


class _Message(
    msgspec.Struct,
    frozen=True,
    rename={"test": "Event", "records": "Records", "name": "detail-type"},
):
    test: str | None = None
    records: list[_Record] | None = None
    name: str | None = None
    detail: _Where | None = None
    message: _Pushed | None = None


class _Change(NamedTuple):
    name: str
    bucket: str
    key: str
    sequencer: str = ""
    scheme: str = _S3


_decoder = msgspec.json.Decoder(_Message)


class ObjectStore:
    """The format of a topic of notifications; the binding's pattern selects the objects.

    A field that is the entire value of a `name=` directory is unescaped as Hive does.
    """

    def __init__(self, binding: Binding, schemas: Schemas | None = None) -> None:
        pattern = binding.source.pattern or ""
        self._binding = binding
        self._read_partition = binding.partition_reader({})
        self._with_bucket = pattern.startswith((_S3, _GCS))
        self._pattern = ObjectPattern(pattern)

    def __call__(
        self, value: bytes | None, headers: Mapping[str, str], dataset: str | None
    ) -> list[SourceEvent]:
        """See `Format`; changes of several objects in one partition result in one event."""
        if value is None:
            raise InvalidEvent("null value: send a notification of an object store")
        return list(dict.fromkeys(self._events(_newest(_changes(value)))))

    def _events(self, changes: Iterator[_Change]) -> Iterator[SourceEvent]:
        for change in changes:
            partition = None if _NO_CHANGE.match(change.name) else self._partition_of(change)
            if partition is not None:
                reason: Reason = Reason.ARRIVAL if _CREATED.match(change.name) else Reason.CHANGE
                yield self._binding.event(partition, reason=reason)

    def _partition_of(self, change: _Change) -> RowPartition | None:
        """The partition of an object; None for an object outside the prefix or a hidden file."""
        bucket = f"{change.scheme}{change.bucket}/" if self._with_bucket else ""
        path = bucket + change.key
        prefix = self._pattern.prefix
        if not path.startswith(prefix):
            return None
        if _HIDDEN.search(path[len(prefix) :]):
            return None
        fields = self._pattern.match(path)
        if fields is None:
            return RowPartition(None, _OFF_PATTERN)
        row: dict[str, str | None] = {**fields}
        row |= {field: unescape(fields[field]) for field in self._pattern.escaped}
        return self._read_partition(self._binding.cells(row))


def _changes(value: bytes) -> Iterator[_Change]:
    try:
        message = _decoder.decode(value)
    except (ValueError, RecursionError) as error:
        raise InvalidEvent(f"not a notification of an object store: {error}") from error
    if message.records is not None:
        return (
            _change(record.name, record.s3, unquote_plus(record.s3.object.key))
            for record in message.records
        )
    if message.name is not None and message.detail is not None:
        return iter([_change(message.name, message.detail, message.detail.object.key)])
    if message.message is not None:
        attributes = message.message.attributes
        change = _Change(attributes.name, attributes.bucket, attributes.key, scheme=_GCS)
        return iter([change])
    if message.test is not None:
        return iter(())
    raise InvalidEvent(
        "not a notification of an object store: it has neither `Records` nor `detail` "
        "nor `message`; send the messages of S3, EventBridge or Pub/Sub unmodified, without "
        "another envelope"
    )


def _change(name: str, where: _Where, key: str) -> _Change:
    return _Change(name, where.bucket.name, key, where.object.sequencer)


def _newest(changes: Iterator[_Change]) -> Iterator[_Change]:
    """The changes without those that follow a later change of the same object.

    Sequencers are compared as texts, the shorter one padded with zeros. Some stores have none.
    """
    newest: dict[tuple[str, str], str] = {}
    for change in changes:
        key = change.bucket, change.key
        last, current = newest.get(key, ""), change.sequencer
        width = max(len(last), len(current))
        if not current or current.ljust(width, "0") >= last.ljust(width, "0"):
            newest[key] = current
            yield change
