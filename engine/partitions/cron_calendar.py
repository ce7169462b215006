"""Windows between the times of a cron expression.

The expression is matched against the zone's clock: a window starts when the clock first reaches or
passes a time of the expression. A time that the clock repeats starts no second window, and of
several times that the clock skips at once only the last has a window. Times are numbered by
arithmetic, because the days of an expression recur every 400 years.
"""

from __future__ import annotations

import re
from bisect import bisect_right
from collections.abc import Callable
from datetime import date
from functools import reduce
from itertools import accumulate
from math import gcd

from engine.model.cron import CronTimes
from engine.partitions.calendar import DAY, HOUR, MINUTE, Calendar
from engine.partitions.civil import CYCLE_DAYS, date_of, days_of, match_key
from engine.partitions.clock import Clock

_TIME = re.compile(r"T([01]\d|2[0-3]):([0-5]\d)", re.ASCII)
_YEARS = range(1970, 2370)


class CronCalendar(Calendar):
    """Windows of an expression: `2013-02-01`, or `2013-02-01T06:00` if a day has several times."""

    def __init__(self, zone: Clock, expression: str) -> None:
        times = CronTimes.parse(expression)
        self._clock = zone
        self._expression = expression
        self._seconds = [minute * MINUTE for minute in times.minutes]
        self._days = _Days(times.is_day)
        self._has_times = len(self._seconds) > 1
        self.is_daily = self._seconds == [0]
        self.resolution = reduce(gcd, self._seconds, DAY)
        self._number_skips()
        self.example = self.format(self.at([1_360_733_400])[0])

    def _number_skips(self) -> None:
        """Record the times without a window, which ordinals do not count."""
        zone = self._clock
        ends = zip(zone.peaks, zone.cuts[1:], zone.offsets[1:], strict=False)
        jumps = ((self._last(peak - 1) + 1, self._last(cut + offset)) for peak, cut, offset in ends)
        skips = [(lo, hi) for lo, hi in jumps if lo < hi]
        counts = [0, *accumulate(hi - lo for lo, hi in skips)]
        self._los = [lo for lo, _ in skips]
        self._his = [hi for _, hi in skips]
        # Ordinals counted from 1970 stay the same when zone data of earlier years is corrected.
        base = counts[bisect_right(self._his, self._last(0))]
        self._shifts = [base - count for count in counts]
        self._firsts = [hi + shift for hi, shift in zip(self._his, self._shifts[1:], strict=True)]

    def starts(self, ordinals: list[int]) -> list[int]:
        """See `Calendar`."""
        return self._clock.firsts([self._reading(n) for n in ordinals])

    def at(self, instants: list[int]) -> list[int]:
        """See `Calendar`."""
        return [self._ordinal(self._last(r)) for r in self._clock.readings(instants)]

    def format(self, ordinal: int) -> str:
        """See `Calendar`."""
        day, second = divmod(self._reading(ordinal), DAY)
        text = date_of(day).isoformat()
        hour, rest = divmod(second, HOUR)
        return f"{text}T{hour:02}:{rest // MINUTE:02}" if self._has_times else text

    def parse(self, key: str) -> int:
        """See `Calendar`."""
        day = days_of(key[:10])
        if self._has_times:
            hour, minute = match_key(_TIME, key[10:])
            second = int(hour) * HOUR + int(minute) * MINUTE
        elif len(key) == 10:
            second = self._seconds[0]
        else:
            raise ValueError("malformed")
        number = self._last(day * DAY + second)
        i = bisect_right(self._his, number)
        if i < len(self._los) and self._los[i] <= number:
            raise ValueError("the clock skips this time")
        ordinal = self._ordinal(number)
        if self.format(ordinal) != key:
            raise ValueError(f"no window starts then, but one at {self.format(ordinal)}")
        return ordinal

    def _last(self, reading: int) -> int:
        """Return the number of the last time of the expression up to a reading."""
        day, second = divmod(reading, DAY)
        index, per_day = self._days.last(day), len(self._seconds)
        if self._days.day(index) < day:
            return (index + 1) * per_day - 1
        return index * per_day + bisect_right(self._seconds, second) - 1

    def _ordinal(self, number: int) -> int:
        return number + self._shifts[bisect_right(self._his, number)]

    def _reading(self, ordinal: int) -> int:
        """Return the time of the expression at which a window starts."""
        number = ordinal - self._shifts[bisect_right(self._firsts, ordinal)]
        index, n = divmod(number, len(self._seconds))
        return self._days.day(index) * DAY + self._seconds[n]


class _Days:
    """Days with a property that depends on month, day of the month and day of the week.

    `day(0)` is the first of these days since 1970. Years of the same length that start on the same
    day of the week share a table.
    """

    def __init__(self, is_member: Callable[[date], bool]) -> None:
        tables: dict[tuple[int, int], list[int]] = {}
        self._new_years = [days_of(f"{year}-01-01") for year in _YEARS]
        self._tables: list[list[int]] = []
        for start, end in zip(self._new_years, [*self._new_years[1:], CYCLE_DAYS], strict=True):
            kind = (end - start, start % 7)
            if kind not in tables:
                days = range(start, end)
                tables[kind] = [day - start for day in days if is_member(date_of(day))]
            self._tables.append(tables[kind])
        *self._counts, self._per_cycle = accumulate(map(len, self._tables), initial=0)

    def last(self, day: int) -> int:
        """Return the index of the last member up to a day."""
        cycles, day = divmod(day, CYCLE_DAYS)
        year = bisect_right(self._new_years, day) - 1
        in_year = bisect_right(self._tables[year], day - self._new_years[year])
        return cycles * self._per_cycle + self._counts[year] + in_year - 1

    def day(self, index: int) -> int:
        """Return the member at an index."""
        cycles, index = divmod(index, self._per_cycle)
        year = bisect_right(self._counts, index) - 1
        day = self._new_years[year] + self._tables[year][index - self._counts[year]]
        return cycles * CYCLE_DAYS + day
