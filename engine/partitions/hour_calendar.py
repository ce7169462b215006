"""Hours, including changes of the clock."""

from __future__ import annotations

import re
from bisect import bisect_right

from engine.partitions.calendar import DAY, HOUR, Calendar
from engine.partitions.civil import date_of, days_of, match_key
from engine.partitions.clock import Clock, pieces
from engine.partitions.intervals import NEG

_HOUR = re.compile(r"T([01]\d|2[0-3])([+-]\d{4}(?:\d\d)?)?", re.ASCII)


class HourCalendar(Calendar):
    """Hours of local time.

    A window starts when the clock reaches a full hour, and when a change moves the clock to another
    hour. A repeated hour has two windows, and the key of the second includes the offset: in New
    York `2013-11-03T01` precedes `2013-11-03T01-0500`. A change within an hour (Lord Howe, by 30
    minutes) makes the window longer or shorter.
    """

    example = "2013-02-13T05"

    def __init__(self, zone: Clock) -> None:
        self._clock = zone
        firsts, shifts = _numbering(zone)
        # Ordinals counted from 1970 stay the same when zone data of earlier years is corrected.
        base = shifts[bisect_right(zone.cuts, 0) - 1]
        self._shifts = [shift - base for shift in shifts]
        self._firsts = [first - base for first in firsts[1:]]

    def starts(self, ordinals: list[int]) -> list[int]:
        """See `Calendar`."""
        starts: list[int] = []
        for i, piece in pieces(self._firsts, ordinals):
            origin, cut = self._origin(i), self._clock.cuts[i]
            starts += [t if (t := n * HOUR - origin) > cut else cut for n in piece]
        return starts

    def at(self, instants: list[int]) -> list[int]:
        """See `Calendar`."""
        ordinals: list[int] = []
        for after, piece in pieces(self._clock.cuts, instants):
            origin = self._origin(after - 1)
            ordinals += [(t + origin) // HOUR for t in piece]
        return ordinals

    def _origin(self, i: int) -> int:
        """Return the seconds that convert an instant under the i-th offset to an ordinal."""
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
        """Return the index of the first offset under which the clock shows the hour."""
        i = bisect_right(self._clock.peaks, hour)
        if self._clock.cuts[i] + self._clock.offsets[i] >= hour + HOUR:
            raise ValueError("the clock skips this hour")
        return i

    def _in_force(self, hour: int, offset: str) -> int:
        """Return the index of the offset, which must apply at the start or end of the hour."""
        seconds = _offset_seconds(offset)
        for instant in (hour - seconds, hour + HOUR - 1 - seconds):
            i = self._clock.segment(instant)
            if self._clock.offsets[i] == seconds:
                return i
        raise ValueError("another offset applies at this time")


def _numbering(zone: Clock) -> tuple[list[int], list[int]]:
    """Return, for each offset, the first ordinal that starts under it, and a shift.

    The ordinal of an hour is the sum of its local hour number and the shift. Each change of the
    offset starts a new window, unless the clock stays within the same hour.
    """
    firsts, shifts = [NEG], [0]
    for i, cut in enumerate(zone.cuts[1:], start=1):
        last = (cut - 1 + zone.offsets[i - 1]) // HOUR
        shown, into = divmod(cut + zone.offsets[i], HOUR)
        continues = shown == last and into > 0
        firsts.append(last + shifts[-1] + 1)
        shifts.append(firsts[-1] - shown - continues)
    return firsts, shifts


def _offset_text(seconds: int) -> str:
    sign = "-" if seconds < 0 else "+"
    minutes, rest = divmod(abs(seconds), 60)
    return f"{sign}{minutes // 60:02}{minutes % 60:02}" + (f"{rest:02}" if rest else "")


def _offset_seconds(text: str) -> int:
    seconds = int(text[1:3]) * HOUR + int(text[3:5]) * 60 + int(text[5:] or 0)
    return -seconds if text[0] == "-" else seconds
