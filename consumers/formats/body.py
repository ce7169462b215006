"""Conversion of JSON to plain values, and of plain values to a source event."""

from typing import Any

import msgspec

from engine.errors import InvalidEvent
from engine.model.event import SourceEvent

_FIELDS = ", ".join(SourceEvent.__struct_fields__)


def parse_json(value: bytes | None) -> Any:
    """Decode JSON of any shape. Raises InvalidEvent."""
    if value is None:
        raise InvalidEvent("null value: a tombstone does not describe a change; send an event")
    try:
        return msgspec.json.decode(value)
    except (ValueError, RecursionError) as error:
        raise InvalidEvent(f"not JSON: {error}") from error


def to_event(body: Any, dataset: str | None) -> SourceEvent:
    """Read one event from its JSON object; `dataset`, if given, is its dataset.

    Raises InvalidEvent.
    """
    if not isinstance(body, dict):
        raise InvalidEvent(f"an event is a JSON object, not {_json_type(body)}")
    if dataset is not None and body.get("dataset", dataset) != dataset:
        raise InvalidEvent(
            f"the event names dataset {body['dataset']!r}, but this stream is bound to "
            f"{dataset!r}: omit `dataset`, or send the event to another stream"
        )
    complete = body if dataset is None else {**body, "dataset": dataset}
    try:
        return msgspec.convert(complete, SourceEvent)
    except (msgspec.ValidationError, RecursionError) as error:
        raise InvalidEvent(f"not a Knockon event: {error}; its fields are {_FIELDS}") from error


def _json_type(value: Any) -> str:
    names = {list: "an array", str: "a string", bool: "a boolean", type(None): "null"}
    return names.get(type(value), "a number")
