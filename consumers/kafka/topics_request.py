"""Kafka's metadata request in version 11, whose response contains topic ids.

Source: KIP-516, Topic Identifiers. Brokers support it since Apache Kafka 2.8; aiokafka (0.14)
implements versions up to 5.
"""

from collections.abc import Collection
from io import BytesIO

from aiokafka.protocol.abstract import AbstractType
from aiokafka.protocol.api import Request, RequestStruct, Response
from aiokafka.protocol.types import (
    Boolean,
    CompactArray,
    CompactString,
    Int16,
    Int32,
    Schema,
    TaggedFields,
)

NO_ID = bytes(16)
_METADATA, _VERSION = 3, 11


class _Uuid(AbstractType[bytes]):  # type: ignore[misc]
    @classmethod
    def encode(cls, value: bytes) -> bytes:
        return value

    @classmethod
    def decode(cls, data: BytesIO) -> bytes:
        return data.read(16)


_TAGS = ("tags", TaggedFields)
_BROKER = (
    ("node_id", Int32),
    ("host", CompactString()),
    ("port", Int32),
    ("rack", CompactString()),
    _TAGS,
)
_PARTITION = (
    ("error_code", Int16),
    ("partition", Int32),
    ("leader", Int32),
    ("leader_epoch", Int32),
    ("replicas", CompactArray(Int32)),
    ("isr", CompactArray(Int32)),
    ("offline_replicas", CompactArray(Int32)),
    _TAGS,
)
_TOPIC = (
    ("error_code", Int16),
    ("name", CompactString()),
    ("id", _Uuid),
    ("is_internal", Boolean),
    ("partitions", CompactArray(*_PARTITION)),
    ("authorized_operations", Int32),
    _TAGS,
)


class _TopicsResponse(Response):  # type: ignore[misc]
    API_KEY, API_VERSION = _METADATA, _VERSION
    SCHEMA = Schema(
        ("throttle_time_ms", Int32),
        ("brokers", CompactArray(*_BROKER)),
        ("cluster_id", CompactString()),
        ("controller_id", Int32),
        ("topics", CompactArray(*_TOPIC)),
        _TAGS,
    )


class _TopicsRequestV11(RequestStruct):  # type: ignore[misc]
    FLEXIBLE_VERSION = True
    API_KEY, API_VERSION, RESPONSE_TYPE = _METADATA, _VERSION, _TopicsResponse
    SCHEMA = Schema(
        ("topics", CompactArray(("id", _Uuid), ("name", CompactString()), _TAGS)),
        ("allow_auto_topic_creation", Boolean),
        ("include_topic_authorized_operations", Boolean),
        _TAGS,
    )


class TopicsRequest(Request[_TopicsRequestV11]):  # type: ignore[misc]
    """A request for the metadata of topics by name; does not create missing topics."""

    API_KEY = _METADATA

    def __init__(self, names: Collection[str]) -> None:
        self._names = names

    def build(self, struct: type[_TopicsRequestV11]) -> _TopicsRequestV11:
        """Build the request; aiokafka calls this after negotiating the version."""
        return struct([(NO_ID, name, {}) for name in self._names], False, False, {})
