"""Registry of calendars by grain."""

from __future__ import annotations

from collections.abc import Callable
from functools import cache
from types import MappingProxyType

from engine.errors import InvalidPartition
from engine.partitions.calendar import Calendar
from engine.partitions.clock import Clock, clock
from engine.partitions.day_calendar import DayCalendar, MonthsCalendar, WeekCalendar
from engine.partitions.hour_calendar import HourCalendar


def _months(months: int, example: str, pattern: str) -> Callable[[Clock], Calendar]:
    return lambda zone: MonthsCalendar(zone, months, example, pattern)


_GRAINS: MappingProxyType[str, Callable[[Clock], Calendar]] = MappingProxyType(
    {
        "hour": HourCalendar,
        "day": DayCalendar,
        "week": WeekCalendar,
        "month": _months(1, "2013-02", "{year}-{part:02}"),
        "quarter": _months(3, "2013-Q1", "{year}-Q{part}"),
        "year": _months(12, "2013", "{year}"),
    }
)


@cache
def calendar(grain: str, zone: str) -> Calendar:
    """Return the calendar of a grain in an IANA zone.

    Raises:
        InvalidPartition: the grain or the zone does not exist.
    """
    if grain not in _GRAINS:
        raise InvalidPartition(f"there is no time grain {grain!r}; use one of {', '.join(_GRAINS)}")
    return _GRAINS[grain](clock(zone))
