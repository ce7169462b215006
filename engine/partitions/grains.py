"""Registry of calendars: by grain, by step, and by cron expression."""

from __future__ import annotations

import re
from collections.abc import Callable
from functools import lru_cache
from math import gcd
from types import MappingProxyType

from engine.errors import InvalidPartition
from engine.partitions.calendar import DAY, HOUR, MINUTE, Calendar
from engine.partitions.clock import Clock, clock
from engine.partitions.cron_calendar import CronCalendar
from engine.partitions.day_calendar import (
    DayCalendar,
    MonthsCalendar,
    ShiftedWeekCalendar,
    WeekCalendar,
)
from engine.partitions.step_calendar import StepCalendar

WEEKDAYS = ("monday", "tuesday", "wednesday", "thursday", "friday", "saturday", "sunday")
GRAINS = ("hour", "day", "week", "month", "quarter", "year")
_STEP = re.compile(r"([1-9]\d{0,4})([mh])", re.ASCII)
_TIME_OF_DAY = re.compile(r"([01]\d|2[0-3]):([0-5]\d)", re.ASCII)


def _months(months: int, example: str, pattern: str) -> Callable[[Clock], Calendar]:
    return lambda zone: MonthsCalendar(zone, months, example, pattern)


_GRAINS: MappingProxyType[str, Callable[[Clock], Calendar]] = MappingProxyType(
    {
        "day": DayCalendar,
        "week": WeekCalendar,
        "month": _months(1, "2013-02", "{year}-{part:02}"),
        "quarter": _months(3, "2013-Q1", "{year}-Q{part}"),
        "year": _months(12, "2013", "{year}"),
    }
)


@lru_cache(maxsize=1024)
def calendar(
    grain: str, zone: str, starts_on: str | None = None, starts_at: str | None = None
) -> Calendar:
    """Return the calendar of a grain in an IANA zone.

    Args:
        grain: A grain such as `day`, a step such as `15m`, or a cron expression.
        zone: The time zone of the windows.
        starts_on: The first day of weeks, by default Monday.
        starts_at: The time of day at which windows start, by default midnight.

    Raises:
        InvalidPartition: the grain or the zone does not exist, or cannot start then.
    """
    if starts_on is not None and (grain != "week" or starts_on not in WEEKDAYS):
        raise InvalidPartition(
            f"a {grain} cannot start on {starts_on!r}; write starts_on for weeks only, as one of "
            f"{', '.join(WEEKDAYS)}"
        )
    phase = _seconds_of(starts_at)
    if is_cron(grain):
        return _cron_calendar(clock(zone), grain, starts_at)
    if is_step(grain):
        step = _step_seconds(grain)
        return StepCalendar(clock(zone), step, phase % step)
    days = WEEKDAYS.index(starts_on or WEEKDAYS[0])
    shifted = clock(zone).shifted(days * DAY + phase)
    found = ShiftedWeekCalendar(shifted, days) if days else _GRAINS[plain_grain(grain)](shifted)
    found.shift = days * DAY + phase
    if phase:
        found.is_daily, found.resolution = False, gcd(DAY, phase)
    return found


def plain_grain(grain: str) -> str:
    """Return a grain that is neither a step nor an expression; raises InvalidPartition."""
    if grain not in GRAINS:
        raise InvalidPartition(f"there is no time grain {grain!r}; use one of {', '.join(GRAINS)}")
    return grain


def is_cron(grain: str) -> bool:
    """Return True for a cron expression, the only grain with spaces."""
    return " " in grain


def is_step(grain: str) -> bool:
    """Return True for a number of minutes or hours, including `hour`."""
    return grain == "hour" or (grain[:1].isdigit() and not is_cron(grain))


def step_grain(step: str) -> str:
    """Return the grain of a step, equal for equal steps: `hour` for 60m, `2h` for 120m.

    Raises:
        InvalidPartition: the step does not divide a day into several windows.
    """
    minutes = _step_seconds(step) // MINUTE
    if minutes == 60:
        return "hour"
    return f"{minutes}m" if minutes % 60 else f"{minutes // 60}h"


def start_in_step(grain: str, starts_at: str | None) -> str | None:
    """Return the start of a grain, equal for equal windows: None for midnight."""
    seconds = _seconds_of(starts_at)
    if is_step(grain):
        seconds %= _step_seconds(grain)
    hour, rest = divmod(seconds, HOUR)
    return f"{hour:02}:{rest // MINUTE:02}" if seconds else None


def cron_grain(expression: str) -> str:
    """Return the grain of a cron expression, in one spelling; raises InvalidPartition."""
    fields = expression.upper().split()
    if len(fields) < 2:
        raise _not_cron(expression, "it has one field")
    return " ".join(fields)


def _step_seconds(grain: str) -> int:
    if grain == "hour":
        return HOUR
    match = _STEP.fullmatch(grain)
    step = int(match[1]) * (HOUR if match[2] == "h" else MINUTE) if match else DAY
    if step >= DAY or DAY % step:
        raise InvalidPartition(
            f"every {grain} is not a step that divides a day; write one like 15m, 90m or 4h, "
            "or use `time: day` or `cron`"
        )
    return step


def _seconds_of(starts_at: str | None) -> int:
    match = _TIME_OF_DAY.fullmatch(starts_at or "00:00")
    if not match:
        raise InvalidPartition(f'{starts_at!r} is not a time of day; write one like "06:00"')
    return int(match[1]) * HOUR + int(match[2]) * MINUTE


def _cron_calendar(zone: Clock, expression: str, starts_at: str | None) -> Calendar:
    if starts_at is not None:
        raise InvalidPartition("a cron expression has its own times; delete starts_at")
    try:
        return CronCalendar(zone, expression)
    except ValueError as error:
        raise _not_cron(expression, str(error)) from error


def _not_cron(expression: str, problem: str) -> InvalidPartition:
    return InvalidPartition(
        f"{expression!r} is not a cron expression ({problem}); write five fields, like "
        "'0 0 1,15 * *' for the 1st and the 15th of each month"
    )
