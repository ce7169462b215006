"""What an event may hold, whichever format it came in, so that all behind it can bear it."""

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
    """The events, if there are not too many, and each is within its bounds, and of their type.

    Raises InvalidEvent.
    """
    check_count(events)
    as_typed = [_as_typed(event) for event in events]
    check_texts(as_typed)
    return as_typed


def _as_typed(event: SourceEvent) -> SourceEvent:
    """The event with tuples where it holds lists, so that it can be hashed."""
    try:
        return msgspec.convert(msgspec.to_builtins(event), type(event))
    except msgspec.ValidationError as error:
        raise InvalidEvent(
            f"out of bounds: {error}; leave a field out to say nothing about it"
        ) from error


def check_count(events: list[SourceEvent]) -> None:
    """Raise InvalidEvent where there are too many events to be read at once."""
    if len(events) > MAX_EVENTS:
        raise InvalidEvent(f"{len(events)} events in it: send at most {MAX_EVENTS} at once")


def check_texts(events: list[SourceEvent], said: bytes | None = None) -> None:
    """Check what the type of an event does not, ``said`` being JSON that holds all of their text.

    Raises InvalidEvent.
    """
    may_hold_nul = said is None or (_BACKSLASH in said and b"u0000" in said)
    for event in events:
        if event.time is not None:
            _check_time(event.time)
        if may_hold_nul:
            _check_nul(event)


def _check_nul(event: SourceEvent) -> None:
    encoded = msgspec.json.encode(event)
    if b"u0000" in encoded and _NUL.search(encoded):
        raise InvalidEvent("it holds a NUL character (\\u0000), which no text column can: drop it")


def _check_time(text: str) -> None:
    try:
        msgspec.convert(text, _Time)
    except msgspec.ValidationError as error:
        raise InvalidEvent(
            f"out of bounds: {error} - at `$.time`; leave a field out to say nothing about it"
        ) from error
