"""Time windows of a grain in a zone: instants, integer ordinals and text keys.

Windows are half-open and follow one another without a gap. Days count from 1970-01-01, weeks from
Monday 1969-12-29, months, quarters and years from January 1970.
"""

from __future__ import annotations

import re
from abc import ABC, abstractmethod
from bisect import bisect_right
from collections.abc import Callable, Iterator
from datetime import date
from functools import cache
from itertools import chain
from types import MappingProxyType

from engine.errors import InvalidPartition
from engine.partitions.clock import Clock, clock, pieces
from engine.partitions.intervals import NEG, POS, Intervals, Span

HOUR = 3600
DAY = 24 * HOUR
YEARS = range(1000, 9999)

_EPOCH = date(1970, 1, 1).toordinal()
_CYCLE_DAYS = 146_097  # the Gregorian calendar repeats every 400 years
_CYCLE_MONTHS = 4800

_HOUR = re.compile(r"T([01]\d|2[0-3])([+-]\d{4}(?:\d\d)?)?", re.ASCII)
_WEEK = re.compile(r"(\d{4})-W(\d\d)", re.ASCII)
_MONTHS = re.compile(r"(\d{4})(?:-Q?(\d\d?))?", re.ASCII)


class Calendar(ABC):
    """One grain in one zone."""

    example: str
    """What a key looks like."""

    skipped: Intervals = Intervals()
    """Ordinals whose window is empty, for the zone's clock jumped over it."""

    @abstractmethod
    def starts(self, ordinals: list[int]) -> list[int]:
        """The instants at which windows start, in seconds since 1970; all ascending."""

    @abstractmethod
    def at(self, instants: list[int]) -> list[int]:
        """The ordinals of the windows that hold the instants, all ascending."""

    @abstractmethod
    def format(self, ordinal: int) -> str:
        """The window's key; raises ValueError outside the years that `date` can hold."""

    @abstractmethod
    def parse(self, key: str) -> int:
        """The ordinal of a key; raises ValueError when the key is not one."""

    def extent(self, ordinals: Intervals) -> Intervals:
        """The instants within the windows."""
        starts = self.starts(list(chain.from_iterable(ordinals.spans)))
        return _paired(ordinals, starts[::2], starts[1::2])

    def overlapping(self, instants: Intervals) -> Intervals:
        """The windows that share an instant with the intervals."""
        firsts = self.at([lo for lo, _ in instants.spans])
        lasts = self.at([hi - 1 for _, hi in instants.spans])
        return _paired(instants, firsts, [last + 1 for last in lasts]) - self.skipped


def _paired(given: Intervals, los: list[int], his: list[int]) -> Intervals:
    """The intervals that the given ones have become; open ends stay open."""
    if given and given.spans[0][0] == NEG:
        los[0] = NEG
    if given and given.spans[-1][1] == POS:
        his[-1] = POS
    return Intervals.of(zip(los, his, strict=True))


class HourCalendar(Calendar):
    """Hours as the zone's wall clock shows them.

    A new hour starts when the clock reads a full hour and when it is set to another hour. An hour
    that it shows twice has two windows, and the second one's key carries the offset then in force:
    in New York `2013-11-03T01` is followed by `2013-11-03T01-0500`. Where the clock is set back or
    forth within an hour (Lord Howe, by 30 minutes) that hour's window is longer or shorter.
    """

    example = "2013-02-13T05"

    def __init__(self, zone: Clock) -> None:
        self._clock = zone
        shifts, firsts = [0], [NEG]
        for i, cut in enumerate(zone.cuts[1:], start=1):
            last = (cut - 1 + zone.offsets[i - 1]) // HOUR
            shown, into = divmod(cut + zone.offsets[i], HOUR)
            goes_on = shown == last and into > 0
            firsts.append(last + shifts[-1] + 1)
            shifts.append(firsts[-1] - shown - goes_on)
        # Counting from 1970 keeps ordinals the same when zone data before that is mended.
        base = shifts[bisect_right(zone.cuts, 0) - 1]
        self._shifts = [shift - base for shift in shifts]
        self._firsts = [first - base for first in firsts[1:]]

    def starts(self, ordinals: list[int]) -> list[int]:
        """See `Calendar`."""
        starts: list[int] = []
        for i, some in pieces(self._firsts, ordinals):
            origin, cut = self._origin(i), self._clock.cuts[i]
            starts += [t if (t := n * HOUR - origin) > cut else cut for n in some]
        return starts

    def at(self, instants: list[int]) -> list[int]:
        """See `Calendar`."""
        ordinals: list[int] = []
        for after, some in pieces(self._clock.cuts, instants):
            origin = self._origin(after - 1)
            ordinals += [(t + origin) // HOUR for t in some]
        return ordinals

    def _origin(self, i: int) -> int:
        return self._shifts[i] * HOUR + self._clock.offsets[i]

    def format(self, ordinal: int) -> str:
        """See `Calendar`."""
        i = bisect_right(self._firsts, ordinal)
        shown = ordinal - self._shifts[i]
        day, hour = divmod(shown, 24)
        text = f"{_date(day).isoformat()}T{hour:02}"
        repeated = shown * HOUR <= self._clock.shown[i]
        return text + _offset_text(self._clock.offsets[i]) if repeated else text

    def parse(self, key: str) -> int:
        """See `Calendar`."""
        hour, offset = _match(_HOUR, key[10:])
        shown = _days(key[:10]) * DAY + int(hour) * HOUR
        i = self._in_force(shown, offset) if offset else self._first_shown(shown)
        return shown // HOUR + self._shifts[i]

    def _first_shown(self, hour: int) -> int:
        """The index of the first offset under which the clock shows the hour."""
        i = bisect_right(self._clock.peaks, hour)
        if self._clock.cuts[i] + self._clock.offsets[i] >= hour + HOUR:
            raise ValueError("the clock skips it")
        return i

    def _in_force(self, hour: int, offset: str) -> int:
        """The index of the offset, when it is in force at either end of the hour."""
        seconds = _offset_seconds(offset)
        for instant in (hour - seconds, hour + HOUR - 1 - seconds):
            i = self._clock.segment(instant)
            if self._clock.offsets[i] == seconds:
                return i
        raise ValueError("another offset is in force then")


class DayCalendar(Calendar):
    """Days, and the grains made of whole days.

    A window starts when the zone's clock first shows midnight of its first day, or has skipped
    past it; days are 23 or 25 hours long when the clock changes.
    """

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
        return _date(ordinal).isoformat()

    def parse(self, key: str) -> int:
        """See `Calendar`."""
        return _days(key)


class WeekCalendar(Calendar):
    """ISO weeks, from Monday."""

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
        year, week, _ = _date(ordinal * 7 - 3).isocalendar()
        return f"{year:04}-W{week:02}"

    def parse(self, key: str) -> int:
        """See `Calendar`."""
        year, week = _match(_WEEK, key)
        monday = date.fromisocalendar(_year(year), int(week), 1)
        return (monday.toordinal() - _EPOCH + 3) // 7


class MonthsCalendar(Calendar):
    """Windows of 1, 3 or 12 months."""

    def __init__(self, zone: Clock, months: int, example: str, pattern: str) -> None:
        self._clock = zone
        self._months = months
        self.example = example
        self._pattern = pattern

    def starts(self, ordinals: list[int]) -> list[int]:
        """See `Calendar`."""
        return self._clock.firsts([_first_day(n * self._months) * DAY for n in ordinals])

    def at(self, instants: list[int]) -> list[int]:
        """See `Calendar`."""
        return [_month(r // DAY) // self._months for r in self._clock.readings(instants)]

    def format(self, ordinal: int) -> str:
        """See `Calendar`."""
        year, month = divmod(ordinal * self._months, 12)
        if year + 1970 not in YEARS:
            raise ValueError("the year is out of range")
        part = month // self._months + 1
        return self._pattern.format(year=year + 1970, part=part)

    def parse(self, key: str) -> int:
        """See `Calendar`."""
        found = _match(_MONTHS, key)
        per_year = 12 // self._months
        ordinal = (_year(found[0]) - 1970) * per_year + int(found[1] or 1) - 1
        if self.format(ordinal) != key:
            raise ValueError("not such a key")
        return ordinal


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
    """The one calendar of a grain and an IANA zone.

    Raises:
        InvalidPartition: there is no such grain or zone.
    """
    if grain not in _GRAINS:
        raise InvalidPartition(f"there is no time grain {grain!r}; use one of {', '.join(_GRAINS)}")
    return _GRAINS[grain](clock(zone))


def _jumped_days(zone: Clock) -> Iterator[Span]:
    for peak, cut, offset in zip(zone.peaks, zone.cuts[1:], zone.offsets[1:], strict=False):
        yield -(-peak // DAY), (cut + offset) // DAY


def _match(pattern: re.Pattern[str], key: str) -> tuple[str, ...]:
    found = pattern.fullmatch(key)
    if not found:
        raise ValueError("not such a key")
    return found.groups()


def _year(text: str) -> int:
    if int(text) not in YEARS:
        raise ValueError(f"years run from {YEARS[0]} to {YEARS[-1]}")
    return int(text)


def _days(text: str) -> int:
    # fromisoformat reads other forms as well, and neither of those has both dashes.
    if len(text) != 10 or text[4] != "-" or text[7] != "-":
        raise ValueError("not such a key")
    _year(text[:4])
    return date.fromisoformat(text).toordinal() - _EPOCH


def _date(days: int) -> date:
    return date.fromordinal(days + _EPOCH)


def _month(days: int) -> int:
    """Months from January 1970 to the day's, for any integer."""
    cycles, days = divmod(days, _CYCLE_DAYS)
    day = _date(days)
    return cycles * _CYCLE_MONTHS + (day.year - 1970) * 12 + day.month - 1


def _first_day(months: int) -> int:
    """Days from 1970-01-01 to the first of the month, for any integer."""
    cycles, months = divmod(months, _CYCLE_MONTHS)
    day = date(1970 + months // 12, months % 12 + 1, 1)
    return cycles * _CYCLE_DAYS + day.toordinal() - _EPOCH


def _offset_text(seconds: int) -> str:
    sign = "-" if seconds < 0 else "+"
    minutes, rest = divmod(abs(seconds), 60)
    return f"{sign}{minutes // 60:02}{minutes % 60:02}" + (f"{rest:02}" if rest else "")


def _offset_seconds(text: str) -> int:
    seconds = int(text[1:3]) * HOUR + int(text[3:5]) * 60 + int(text[5:] or 0)
    return -seconds if text[0] == "-" else seconds
