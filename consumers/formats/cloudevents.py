"""CloudEvents 1.0 over Kafka: an envelope with id, source and time, and data with the change.

Source: CloudEvents 1.0.2, its JSON event format and its Kafka protocol binding. The data is the
JSON object of a Knockon event without the fields that the envelope provides.
"""

from base64 import b64decode
from collections.abc import Mapping
from datetime import datetime
from typing import Annotated, Any, Literal

import msgspec
from msgspec import UNSET, Meta, UnsetType

from consumers.formats.body import parse_json, to_event
from engine.errors import InvalidEvent
from engine.model.event import SourceEvent

_Text = Annotated[str, Meta(min_length=1)]
_JSON = "application/json"
_CLOUDEVENT = "application/cloudevents"


class _Envelope(msgspec.Struct, frozen=True, kw_only=True):
    specversion: Literal["1.0"]
    id: _Text
    source: Annotated[str, Meta(pattern=r"^\S+$")]
    type: _Text
    subject: _Text | None = None
    time: Annotated[datetime, Meta(tz=True)] | None = None
    datacontenttype: _Text = _JSON
    data: Any = UNSET
    data_base64: str | UnsetType = UNSET


_ATTRIBUTES = [f"ce_{field}" for field in _Envelope.__struct_fields__ if "data" not in field]


def read_cloudevent(
    value: bytes | None, headers: Mapping[str, str], dataset: str | None
) -> list[SourceEvent]:
    """Read one CloudEvent, structured or binary. Raises InvalidEvent; see `Format`.

    Any `type` is accepted. The dataset is `dataset`, else the one in the data, else `subject`.
    """
    is_binary = "ce_specversion" in headers and not _media_type(headers).startswith(_CLOUDEVENT)
    read = _binary if is_binary else _structured
    return [_event(read(value, headers), dataset)]


def _media_type(headers: Mapping[str, str]) -> str:
    return _essence(headers.get("content-type", _JSON))


def _essence(content_type: str) -> str:
    return content_type.partition(";")[0].strip().lower()


def _binary(value: bytes | None, headers: Mapping[str, str]) -> _Envelope:
    attributes: dict[str, Any] = {
        name.removeprefix("ce_"): headers[name] for name in _ATTRIBUTES if name in headers
    }
    if not value:  # a null value means an event without data
        return _envelope(attributes)
    _expect_json(_media_type(headers))
    return _envelope({**attributes, "data": parse_json(value)})


def _structured(value: bytes | None, headers: Mapping[str, str]) -> _Envelope:
    media_type = _media_type(headers)
    if media_type.startswith(_CLOUDEVENT) and media_type != f"{_CLOUDEVENT}+json":
        raise InvalidEvent(
            f"content-type {media_type} cannot be read: send one event per message, "
            f"as {_CLOUDEVENT}+json or with ce_ headers"
        )
    return _envelope(parse_json(value))


def _envelope(attributes: Any) -> _Envelope:
    try:
        return msgspec.convert(attributes, _Envelope)
    except (msgspec.ValidationError, RecursionError) as error:
        raise InvalidEvent(
            f"not a CloudEvent: {error}; specversion 1.0, id, source and type are required"
        ) from error


def _event(envelope: _Envelope, dataset: str | None) -> SourceEvent:
    data = _data(envelope)
    attributes = {
        # A source has no blanks, so two different pairs never result in the same id.
        "id": f"{envelope.source} {envelope.id}",
        "source": envelope.source,
        "time": envelope.time and envelope.time.isoformat(),
    }
    if repeated := attributes.keys() & data.keys():
        raise InvalidEvent(
            f"the data repeats {', '.join(sorted(repeated))}: set it only in the envelope"
        )
    if dataset is None and envelope.subject is not None:
        data = {"dataset": envelope.subject, **data}
    return to_event({**data, **attributes}, dataset)


def _data(envelope: _Envelope) -> dict[str, Any]:
    data = _decoded(envelope)
    if not isinstance(data, dict):
        raise InvalidEvent("the data of the CloudEvent is not an object: send a Knockon event")
    return data


def _decoded(envelope: _Envelope) -> Any:
    """The decoded data; missing, null or empty data means that the entire dataset changed."""
    if isinstance(envelope.data_base64, UnsetType):
        data = None if envelope.data is UNSET else envelope.data
    elif envelope.data is not UNSET:
        raise InvalidEvent("a CloudEvent has data or data_base64, not both")
    else:
        data = _from_base64(envelope.data_base64)
    if data is None or data == b"":
        return {}
    _expect_json(_essence(envelope.datacontenttype))
    decoded = parse_json(data) if isinstance(data, bytes) else data
    return {} if decoded is None else decoded


def _from_base64(text: str) -> bytes:
    try:
        return b64decode(text, validate=True)
    except ValueError as error:
        raise InvalidEvent(f"data_base64 is not base64: {error}") from error


def _expect_json(media_type: str) -> None:
    if not media_type.endswith(("/json", "+json")):
        raise InvalidEvent(f"data of type {media_type} cannot be read: send {_JSON}")
