"""When a record's value is: values of many kinds as seconds, of UTC or on a local clock."""

import re
from datetime import UTC, date, datetime
from typing import Any, Literal, NamedTuple

from engine.errors import InvalidEvent

PER_SECOND = {"seconds": 1, "millis": 10**3, "micros": 10**6, "nanos": 10**9}
"""How many of a unit a second has."""

_DAY = 86_400
_EPOCH = datetime(1970, 1, 1)  # noqa: DTZ001 of any clock
_DATE = re.compile(r"\d{4}-\d\d-\d\d(?=Z?$)", re.ASCII)


Clock = Literal["utc", "local", "numbers"]
"""Which times are what the wall clock of the dimension's zone shows, rather than instants.

Dates and texts without an offset always are. ``local``: all others too; ``numbers``: only numbers.
"""


class Moment(NamedTuple):
    """Whole seconds since 1970; ``local``: since the wall clock showed its beginning."""

    seconds: int
    local: bool


def moment(value: Any, unit: str | None, clock: Clock) -> Moment | None:
    """The moment that a value names, or None where it names none.

    Raises InvalidEvent for a number of which nobody says what it counts.
    """
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
            f"{value} is to be a time, and nothing says what it counts: add `unit:` to the field "
            "under `partition` of the source (days, seconds, millis, micros or nanos)"
        )
    try:
        return Moment(int(value // PER_SECOND[unit]), local)
    except (ValueError, OverflowError):  # not a number, endless
        return None


def _of_date(value: date) -> Moment:
    return Moment((value.toordinal() - _EPOCH.toordinal()) * _DAY, True)


def _of_text(text: str, local: bool) -> Moment | None:
    try:
        if found := _DATE.match(text):
            return _of_date(date.fromisoformat(found[0]))
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
