"""What an event may hold, whichever format it came in, so that all behind it can bear it."""

import re
from datetime import datetime
from typing import Annotated

import msgspec
from msgspec import Meta

from engine.errors import InvalidEvent
from engine.model.event import SourceEvent

MAX_EVENTS = 10_000

_NUL = re.compile(rb"(?<!\\)(?:\\\\)*\\u0000")
_Time = Annotated[datetime, Meta(tz=True)]


def check_events(events: list[SourceEvent]) -> None:
    """Raise InvalidEvent unless there are not too many events, and each within its bounds."""
    check_count(events)
    for event in events:
        try:
            msgspec.convert(msgspec.to_builtins(event), SourceEvent)
        except msgspec.ValidationError as error:
            raise InvalidEvent(
                f"out of bounds: {error}; leave a field out to say nothing about it"
            ) from error
        check_text(event)


def check_count(events: list[SourceEvent]) -> None:
    """Raise InvalidEvent where there are too many events to be read at once."""
    if len(events) > MAX_EVENTS:
        raise InvalidEvent(f"{len(events)} events in it: send at most {MAX_EVENTS} at once")


def check_text(event: SourceEvent, said: bytes | None = None) -> None:
    """Check what the type of an event does not, ``said`` being JSON that holds all of its text.

    Raises InvalidEvent.
    """
    if event.time is not None:
        _check_time(event.time)
    if said is None or b"u0000" in said:
        encoded = msgspec.json.encode(event)
        if b"u0000" in encoded and _NUL.search(encoded):
            raise InvalidEvent(
                "it holds a NUL character (\\u0000), which no text column can: drop it"
            )


def _check_time(text: str) -> None:
    try:
        msgspec.convert(text, _Time)
    except msgspec.ValidationError as error:
        raise InvalidEvent(
            f"out of bounds: {error} - at `$.time`; leave a field out to say nothing about it"
        ) from error
