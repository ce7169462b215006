"""Conversion of time values of many types to seconds, in UTC or on a local clock."""

import re
from datetime import UTC, date, datetime
from typing import Any, Literal, NamedTuple

from engine.errors import InvalidEvent

PER_SECOND = {"seconds": 1, "millis": 10**3, "micros": 10**6, "nanos": 10**9}
"""The number of units in a second."""

_DAY = 86_400
_EPOCH = datetime(1970, 1, 1)  # noqa: DTZ001 on any local clock
_DATE = re.compile(r"\d{4}-\d\d-\d\d(?=Z?$)", re.ASCII)


Clock = Literal["utc", "local", "numbers"]
"""The time values that are wall-clock readings in the dimension's zone rather than instants.

Dates and texts without an offset always are. ``local``: so is everything else. ``numbers``: so are
numbers, and nothing else.
"""


class Moment(NamedTuple):
    """Whole seconds since the beginning of 1970, in UTC or, if ``local``, on the wall clock."""

    seconds: int
    local: bool


def moment(value: Any, unit: str | None, clock: Clock) -> Moment | None:
    """Convert a value; None if it is not a time. Raises InvalidEvent for a number without unit."""
    match value:
        case bool():
            return None
        case int() | float():
            return _counted(value, unit, clock != "utc")
        case datetime():
            return _of_datetime(value, clock == "local")
        case date():
            return _of_date(value)
        case str():
            return _of_text(value, clock == "local")
    return None


def _counted(value: float, unit: str | None, local: bool) -> Moment | None:
    if unit == "days":
        return Moment(int(value) * _DAY, True)
    if unit not in PER_SECOND:
        raise InvalidEvent(
            f"the time {value} is a number without a unit: add `unit:` to the field under "
            "`partition` of the source (days, seconds, millis, micros or nanos)"
        )
    try:
        return Moment(int(value // PER_SECOND[unit]), local)
    except (ValueError, OverflowError):  # NaN, infinity
        return None


def _of_date(value: date) -> Moment:
    return Moment((value.toordinal() - _EPOCH.toordinal()) * _DAY, True)


def _of_text(text: str, local: bool) -> Moment | None:
    try:
        if match := _DATE.match(text):
            return _of_date(date.fromisoformat(match[0]))
        return _of_datetime(datetime.fromisoformat(text), local)
    except (ValueError, OverflowError):
        return None


def _of_datetime(value: datetime, local: bool) -> Moment:
    if value.tzinfo is None or local:
        return Moment(_seconds(value if value.tzinfo is None else value.astimezone(UTC)), True)
    return Moment(_seconds(value.astimezone(UTC)), False)


def _seconds(value: datetime) -> int:
    since = value.replace(tzinfo=None) - _EPOCH
    return since.days * _DAY + since.seconds
