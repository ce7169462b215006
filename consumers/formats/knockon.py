"""Knockon's own event: the JSON of a SourceEvent, or an array of them."""

from collections.abc import Mapping

import msgspec

from consumers.formats.body import parse_json, to_event
from consumers.formats.bounds import check_count, check_texts
from engine.errors import InvalidEvent
from engine.model.event import SourceEvent

_decoder = msgspec.json.Decoder(SourceEvent | list[SourceEvent])


def read_events(
    value: bytes | None, headers: Mapping[str, str], dataset: str | None
) -> list[SourceEvent]:
    """Read one event or an array of them, all or none. Raises InvalidEvent; see `Format`."""
    try:
        decoded = None if dataset else _decoder.decode(value or b"")
    except (ValueError, RecursionError):
        decoded = None
    events = decoded or _one_by_one(value, dataset)  # slower, but with precise errors
    if isinstance(events, SourceEvent):
        events = [events]
    else:
        check_count(events)
    check_texts(events, value)
    return events


def _one_by_one(value: bytes | None, dataset: str | None) -> SourceEvent | list[SourceEvent]:
    body = parse_json(value)
    if not isinstance(body, list):
        return to_event(body, dataset)
    if not body:
        raise InvalidEvent("the array is empty: send at least one event")
    return [_member(body, index, dataset) for index in range(len(body))]


def _member(body: list[object], index: int, dataset: str | None) -> SourceEvent:
    try:
        return to_event(body[index], dataset)
    except InvalidEvent as error:
        raise InvalidEvent(f"event {index} of {len(body)}: {error}") from error
