"""Days, and the grains composed of whole days.

A window starts when the zone's clock first reaches or passes midnight of the first day; days are
23 or 25 hours long when the clock changes. On a clock that is behind by six hours, days start at
06:00.
"""

from __future__ import annotations

import re
from collections.abc import Iterator
from datetime import date

from engine.partitions.calendar import DAY, Calendar
from engine.partitions.civil import (
    EPOCH,
    YEARS,
    date_of,
    days_of,
    first_day,
    match_key,
    month_of,
    year_of,
)
from engine.partitions.clock import Clock
from engine.partitions.intervals import Intervals, Span

_WEEK = re.compile(r"(\d{4})-W(\d\d)", re.ASCII)
_MONTHS = re.compile(r"(\d{4})(?:-Q?(\d\d?))?", re.ASCII)


class DayCalendar(Calendar):
    """Days, counted from 1970-01-01: `2013-02-13`."""

    example = "2013-02-13"

    def __init__(self, zone: Clock) -> None:
        self._clock = zone
        self.skipped = Intervals.of(_jumped_days(zone))

    def starts(self, ordinals: list[int]) -> list[int]:
        """See `Calendar`."""
        return self._clock.firsts([n * DAY for n in ordinals])

    def at(self, instants: list[int]) -> list[int]:
        """See `Calendar`."""
        return [r // DAY for r in self._clock.readings(instants)]

    def format(self, ordinal: int) -> str:
        """See `Calendar`."""
        return date_of(ordinal).isoformat()

    def parse(self, key: str) -> int:
        """See `Calendar`."""
        return days_of(key)


class WeekCalendar(Calendar):
    """ISO weeks, which start on Monday, counted from the week of 1970-01-01: `2013-W07`."""

    example = "2013-W07"

    def __init__(self, zone: Clock) -> None:
        self._clock = zone

    def starts(self, ordinals: list[int]) -> list[int]:
        """See `Calendar`."""
        return self._clock.firsts([(n * 7 - 3) * DAY for n in ordinals])

    def at(self, instants: list[int]) -> list[int]:
        """See `Calendar`."""
        return [(r // DAY + 3) // 7 for r in self._clock.readings(instants)]

    def format(self, ordinal: int) -> str:
        """See `Calendar`."""
        year, week, _ = date_of(ordinal * 7 - 3).isocalendar()
        return f"{year:04}-W{week:02}"

    def parse(self, key: str) -> int:
        """See `Calendar`."""
        year, week = match_key(_WEEK, key)
        monday = date.fromisocalendar(year_of(year), int(week), 1)
        return (monday.toordinal() - EPOCH + 3) // 7


class ShiftedWeekCalendar(WeekCalendar):
    """Weeks from another day, on a clock that is behind by as many days: `2013-02-10`.

    The key is the date of the first day.
    """

    def __init__(self, zone: Clock, days: int) -> None:
        super().__init__(zone)
        self.days = days
        self.example = self.format(self.parse_day("2013-02-13"))

    def format(self, ordinal: int) -> str:
        """See `Calendar`."""
        return date_of(ordinal * 7 - 3 + self.days).isoformat()

    def parse(self, key: str) -> int:
        """See `Calendar`."""
        ordinal = self.parse_day(key)
        if self.format(ordinal) != key:
            raise ValueError(f"its week starts on {self.format(ordinal)}")
        return ordinal

    def parse_day(self, text: str) -> int:
        """Return the ordinal of the week that includes a day; raises ValueError."""
        return (days_of(text) - self.days + 3) // 7


class MonthsCalendar(Calendar):
    """Windows of 1, 3 or 12 months, counted from 1970: `2013-02`, `2013-Q1`, `2013`."""

    def __init__(self, zone: Clock, months: int, example: str, pattern: str) -> None:
        self._clock = zone
        self._months = months
        self.example = example
        self._pattern = pattern

    def starts(self, ordinals: list[int]) -> list[int]:
        """See `Calendar`."""
        return self._clock.firsts([first_day(n * self._months) * DAY for n in ordinals])

    def at(self, instants: list[int]) -> list[int]:
        """See `Calendar`."""
        return [month_of(r // DAY) // self._months for r in self._clock.readings(instants)]

    def format(self, ordinal: int) -> str:
        """See `Calendar`."""
        year, month = divmod(ordinal * self._months, 12)
        if year + 1970 not in YEARS:
            raise ValueError("the year is out of range")
        part = month // self._months + 1
        return self._pattern.format(year=year + 1970, part=part)

    def parse(self, key: str) -> int:
        """See `Calendar`."""
        year, part = match_key(_MONTHS, key)
        per_year = 12 // self._months
        ordinal = (year_of(year) - 1970) * per_year + int(part or 1) - 1
        if self.format(ordinal) != key:
            raise ValueError("malformed")
        return ordinal


def _jumped_days(zone: Clock) -> Iterator[Span]:
    """Yield days that the clock skipped, like 2011-12-30 in Samoa."""
    for peak, cut, offset in zip(zone.peaks, zone.cuts[1:], zone.offsets[1:], strict=False):
        yield -(-peak // DAY), (cut + offset) // DAY
