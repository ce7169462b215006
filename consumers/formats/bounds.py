"""What an event may hold, whichever format it came in, so that all behind it can bear it."""

import re
from datetime import datetime
from typing import Annotated

import msgspec
from msgspec import Meta

from engine.errors import InvalidEvent
from engine.model.event import SourceEvent

MAX_EVENTS = 10_000
MAX_PARTITIONS = 10_000
MAX_COLUMNS = 10_000
MAX_TEXT = 500
"""Characters of a name, a key or an id: PostgreSQL indexes at most 2,704 bytes."""

_NUL = re.compile(rb"(?<!\\)(?:\\\\)*\\u0000")
_Text = Annotated[str, Meta(min_length=1, max_length=MAX_TEXT)]
# JSON may hold any integer; what stores it holds 64 bits
_Scalar = str | Annotated[int, Meta(ge=-(2**63), le=2**63 - 1)] | float | bool | None
_Condition = _Scalar | dict[str, _Scalar | list[_Scalar]]


class _Bounded(msgspec.Struct, frozen=True):
    """The fields of a SourceEvent whose types say less than they must hold."""

    dataset: _Text
    id: _Text | None
    version: _Text | None
    time: Annotated[datetime, Meta(tz=True)] | None
    partitions: Annotated[list[_Text], Meta(min_length=1, max_length=MAX_PARTITIONS)] | None
    columns: Annotated[list[_Text], Meta(min_length=1, max_length=MAX_COLUMNS)] | None
    rows: Annotated[dict[str, _Condition], Meta(min_length=1)] | None


def check_events(events: list[SourceEvent]) -> None:
    """Raise InvalidEvent unless there are not too many events, and each within its bounds."""
    if len(events) > MAX_EVENTS:
        raise InvalidEvent(f"{len(events)} events in it: send at most {MAX_EVENTS} at once")
    for event in events:
        _check(event)


def _check(event: SourceEvent) -> None:
    try:
        msgspec.convert(event, _Bounded, from_attributes=True)
    except msgspec.ValidationError as error:
        raise InvalidEvent(
            f"out of bounds: {error}; leave a field out to say nothing about it"
        ) from error
    said = msgspec.json.encode(event)
    if b"u0000" in said and _NUL.search(said):  # looking for an escape before it is parsed is cheap
        raise InvalidEvent("it holds a NUL character (\\u0000), which no text column can: drop it")
