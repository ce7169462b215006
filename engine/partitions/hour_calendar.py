"""Hours, through every change of the clock."""

from __future__ import annotations

import re
from bisect import bisect_right

from engine.partitions.calendar import DAY, HOUR, Calendar
from engine.partitions.civil import date_of, days_of, match_key
from engine.partitions.clock import Clock, pieces
from engine.partitions.intervals import NEG

_HOUR = re.compile(r"T([01]\d|2[0-3])([+-]\d{4}(?:\d\d)?)?", re.ASCII)


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
        firsts, shifts = _numbering(zone)
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
        """Under the i-th offset, an instant and this make an ordinal, in seconds."""
        return self._shifts[i] * HOUR + self._clock.offsets[i]

    def format(self, ordinal: int) -> str:
        """See `Calendar`."""
        i = bisect_right(self._firsts, ordinal)
        shown = ordinal - self._shifts[i]
        day, hour = divmod(shown, 24)
        text = f"{date_of(day).isoformat()}T{hour:02}"
        repeated = shown * HOUR <= self._clock.shown[i]
        return text + _offset_text(self._clock.offsets[i]) if repeated else text

    def parse(self, key: str) -> int:
        """See `Calendar`."""
        hour, offset = match_key(_HOUR, key[10:])
        shown = days_of(key[:10]) * DAY + int(hour) * HOUR
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


def _numbering(zone: Clock) -> tuple[list[int], list[int]]:
    """By offset, the ordinal of the first hour that starts under it, and shifts.

    A shift and the hour that the clock shows make an ordinal. Each change of the offset starts a
    new hour, unless the clock is set within one.
    """
    firsts, shifts = [NEG], [0]
    for i, cut in enumerate(zone.cuts[1:], start=1):
        last = (cut - 1 + zone.offsets[i - 1]) // HOUR
        shown, into = divmod(cut + zone.offsets[i], HOUR)
        goes_on = shown == last and into > 0
        firsts.append(last + shifts[-1] + 1)
        shifts.append(firsts[-1] - shown - goes_on)
    return firsts, shifts


def _offset_text(seconds: int) -> str:
    sign = "-" if seconds < 0 else "+"
    minutes, rest = divmod(abs(seconds), 60)
    return f"{sign}{minutes // 60:02}{minutes % 60:02}" + (f"{rest:02}" if rest else "")


def _offset_seconds(text: str) -> int:
    seconds = int(text[1:3]) * HOUR + int(text[3:5]) * 60 + int(text[5:] or 0)
    return -seconds if text[0] == "-" else seconds
