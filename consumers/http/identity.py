"""Identities of messages, which distinguish a repeated delivery from another change.

A format without identities in its messages (`record`, plug-ins) relies on those of requests.
"""

from collections.abc import Callable, Mapping
from types import MappingProxyType
from typing import Any

import msgspec
from msgspec import Raw

from consumers.http.message import Identity, digest


class _CloudEvent(msgspec.Struct, frozen=True):
    """The attributes that a sender repeats; extensions, as for tracing, may change."""

    id: str
    source: str
    type: str = ""
    subject: str | None = None
    time: str | None = None
    data: Raw = Raw(b"null")
    data_base64: str | None = None


class _Event(msgspec.Struct, frozen=True):
    id: str | None = None


class _Change(msgspec.Struct, frozen=True):
    """A change event of Debezium without the time of its creation, which a restart changes."""

    source: dict[str, Raw] | None = None
    op: str | None = None
    before: Raw = Raw(b"null")
    after: Raw = Raw(b"null")


class _Wrapped(_Change, frozen=True):
    payload: _Change | None = None


class _Run(msgspec.Struct, frozen=True, rename={"time": "eventTime"}):
    time: str = ""


class _Object(msgspec.Struct, frozen=True):
    sequencer: str = ""


class _Where(msgspec.Struct, frozen=True):
    object: _Object = _Object()


class _Record(msgspec.Struct, frozen=True, rename={"time": "eventTime"}):
    time: str = ""
    s3: _Where = _Where()


class _Pushed(msgspec.Struct, frozen=True, rename={"id": "messageId"}):
    id: str = ""
    data: str = ""
    attributes: dict[str, str] = {}


class _Notification(msgspec.Struct, frozen=True, rename={"records": "Records"}):
    """Notifications of S3, EventBridge and Pub/Sub; each has some of the fields."""

    records: list[_Record] | None = None
    id: str = ""
    time: str = ""
    message: _Pushed | None = None
    subscription: str = ""


def identity_of(format_: str, value: bytes | None, headers: Mapping[str, str]) -> Identity | None:
    """The identity that a message itself contains; None if it has none or is unreadable."""
    find = _FINDERS.get(format_)
    if find is None:
        return None
    try:
        return find(value or b"", headers)
    except (ValueError, RecursionError):  # reading the message reports the error
        return None


def _of_cloudevent(value: bytes, headers: Mapping[str, str]) -> Identity:
    if "ce_specversion" in headers:
        attributes: dict[str, Any] = {
            name.removeprefix("ce_"): text for name, text in headers.items()
        }
        event = msgspec.convert(attributes, _CloudEvent)
        data = value
    else:
        event = msgspec.json.decode(value, type=_CloudEvent)
        data = bytes(event.data)
    described = (event.type, event.subject or "", event.time or "", event.data_base64 or "", data)
    return Identity(f"event {digest(event.source, event.id)}", digest(*described))


def _of_event(value: bytes, headers: Mapping[str, str]) -> Identity | None:
    event = msgspec.json.decode(value, type=_Event)
    return Identity(f"id {event.id}", digest(value)) if event.id else None


def _of_debezium(value: bytes, headers: Mapping[str, str]) -> Identity | None:
    if value[:1] == b"\0":  # a message with a schema id, which contains its source
        return _of_content(value)
    wrapped = msgspec.json.decode(value, type=_Wrapped)
    change = wrapped.payload or wrapped
    # The position in the source's log is part of `source`.
    if not change.source:
        return None
    source = msgspec.json.encode(change.source, order="sorted")
    return _of_content(source, change.op or "", bytes(change.before), bytes(change.after))


def _of_run(value: bytes, headers: Mapping[str, str]) -> Identity | None:
    run = msgspec.json.decode(value, type=_Run)
    # Events of a run may have equal types and times, so the identity is all of the content.
    return _of_content(value) if run.time else None


def _of_notification(value: bytes, headers: Mapping[str, str]) -> Identity | None:
    notification = msgspec.json.decode(value, type=_Notification)
    if (pushed := notification.message) is not None:
        content = digest(pushed.data, msgspec.json.encode(pushed.attributes, order="sorted"))
        id_ = f"message {notification.subscription} {pushed.id}"
        return Identity(id_, content) if pushed.id else None
    records = notification.records or ()
    if all(record.time or record.s3.object.sequencer for record in records):
        return _of_content(value) if records or notification.time else None
    return None


def _of_content(*parts: str | bytes) -> Identity:
    content = digest(*parts)
    return Identity(f"content {content}", content)


_FINDERS: Mapping[str, Callable[[bytes, Mapping[str, str]], Identity | None]] = MappingProxyType(
    {
        "knockon": _of_event,
        "cloudevents": _of_cloudevent,
        "debezium": _of_debezium,
        "openlineage": _of_run,
        "s3": _of_notification,
    }
)
