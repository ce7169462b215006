"""Limits on events of every format, so that planning and the database can handle them."""

import re
from datetime import datetime
from typing import Annotated

import msgspec
from msgspec import Meta

from engine.errors import InvalidEvent
from engine.model.event import SourceEvent

MAX_EVENTS = 10_000

_BACKSLASH = ord("\\")
_NUL = re.compile(rb"(?<!\\)(?:\\\\)*\\u0000")
_Time = Annotated[datetime, Meta(tz=True)]


def checked(events: list[SourceEvent]) -> list[SourceEvent]:
    """Check the number of events and the bounds of each; returns hashable events.

    Raises InvalidEvent.
    """
    check_count(events)
    converted = [_converted(event) for event in events]
    check_texts(converted)
    return converted


def _converted(event: SourceEvent) -> SourceEvent:
    """The event with tuples in place of lists, so that it is hashable."""
    try:
        return msgspec.convert(msgspec.to_builtins(event), type(event))
    except msgspec.ValidationError as error:
        raise InvalidEvent(
            f"out of bounds: {error}; correct the field, or omit it if it is unknown"
        ) from error


def check_count(events: list[SourceEvent]) -> None:
    """Raise InvalidEvent if a message has too many events."""
    if len(events) > MAX_EVENTS:
        raise InvalidEvent(
            f"the message has {len(events)} events: send at most {MAX_EVENTS} per message"
        )


def check_texts(events: list[SourceEvent], payload: bytes | None = None) -> None:
    """Check rules on text that the type of an event cannot express.

    ``payload`` is the JSON that the events were decoded from, for a fast check. Raises
    InvalidEvent.
    """
    may_hold_nul = payload is None or (_BACKSLASH in payload and b"u0000" in payload)
    for event in events:
        if event.time is not None:
            _check_time(event.time)
        if may_hold_nul:
            _check_nul(event)


def _check_nul(event: SourceEvent) -> None:
    encoded = msgspec.json.encode(event)
    if b"u0000" in encoded and _NUL.search(encoded):
        raise InvalidEvent(
            "the event contains a NUL character (\\u0000), which PostgreSQL cannot store: remove it"
        )


def _check_time(text: str) -> None:
    try:
        msgspec.convert(text, _Time)
    except msgspec.ValidationError as error:
        raise InvalidEvent(
            f"out of bounds: {error} - at `$.time`; correct the field, or omit it if it is unknown"
        ) from error
