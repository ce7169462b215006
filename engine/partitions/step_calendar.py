"""Windows of a number of minutes or hours, including changes of the clock."""

from __future__ import annotations

import re
from bisect import bisect_right
from math import gcd

from engine.partitions.calendar import DAY, HOUR, MINUTE, Calendar
from engine.partitions.civil import date_of, days_of, match_key
from engine.partitions.clock import Clock, pieces
from engine.partitions.intervals import NEG

_TIME = r"T([01]\d|2[0-3])"
_OFFSET = r"([+-]\d{4}(?:\d\d)?)?"
_HOUR = re.compile(_TIME + "()" + _OFFSET, re.ASCII)
_MINUTE = re.compile(_TIME + r":([0-5]\d)" + _OFFSET, re.ASCII)


class StepCalendar(Calendar):
    """Steps of local time, such as hours, counted from `phase` seconds after midnight.

    A window starts when the clock reaches the next step, and when a change moves the clock to
    another step. A repeated step has two windows, and the key of the second includes the offset: in
    New York `2013-11-03T01` precedes `2013-11-03T01-0500`. A change within a step (Lord Howe, by 30
    minutes) makes the window longer or shorter. Keys have minutes if windows start between hours.
    """

    is_daily = False

    def __init__(self, zone: Clock, step: int, phase: int = 0) -> None:
        self._clock = zone.shifted(phase)
        self.step = step
        self.shift = phase
        self.resolution = gcd(step, phase)
        firsts, shifts = _numbering(self._clock, step)
        # Ordinals counted from 1970 stay the same when zone data of earlier years is corrected.
        base = shifts[bisect_right(zone.cuts, 0) - 1]
        self._shifts = [shift - base for shift in shifts]
        self._firsts = [first - base for first in firsts[1:]]
        self.has_minutes = self.resolution % HOUR != 0
        self._pattern = _MINUTE if self.has_minutes else _HOUR
        self._format = "{}T{:02}:{:02}" if self.has_minutes else "{}T{:02}"
        self.example = self.format(self.at([1_360_733_400])[0])

    def starts(self, ordinals: list[int]) -> list[int]:
        """See `Calendar`."""
        starts: list[int] = []
        for i, piece in pieces(self._firsts, ordinals):
            origin, cut, step = self._origin(i), self._clock.cuts[i], self.step
            starts += [t if (t := n * step - origin) > cut else cut for n in piece]
        return starts

    def at(self, instants: list[int]) -> list[int]:
        """See `Calendar`."""
        ordinals: list[int] = []
        for after, piece in pieces(self._clock.cuts, instants):
            origin, step = self._origin(after - 1), self.step
            ordinals += [(t + origin) // step for t in piece]
        return ordinals

    def _origin(self, i: int) -> int:
        """Return the seconds that convert an instant under the i-th offset to an ordinal."""
        return self._shifts[i] * self.step + self._clock.offsets[i]

    def format(self, ordinal: int) -> str:
        """See `Calendar`."""
        i = bisect_right(self._firsts, ordinal)
        shown = (ordinal - self._shifts[i]) * self.step
        day, second = divmod(shown + self.shift, DAY)
        hour, rest = divmod(second, HOUR)
        text = self._format.format(date_of(day).isoformat(), hour, rest // MINUTE)
        is_repeated = shown <= self._clock.shown[i]
        return text + _offset_text(self._clock.offsets[i] + self.shift) if is_repeated else text

    def parse(self, key: str) -> int:
        """See `Calendar`."""
        hour, minute, offset = match_key(self._pattern, key[10:])
        shown = days_of(key[:10]) * DAY + int(hour) * HOUR + int(minute or 0) * MINUTE - self.shift
        if shown % self.step:
            raise ValueError("no window starts then")
        i = self._in_force(shown, offset) if offset else self._first_shown(shown)
        return shown // self.step + self._shifts[i]

    def _first_shown(self, shown: int) -> int:
        """Return the index of the first offset under which the clock shows the step."""
        i = bisect_right(self._clock.peaks, shown)
        if self._clock.cuts[i] + self._clock.offsets[i] >= shown + self.step:
            raise ValueError("the clock skips this time")
        return i

    def _in_force(self, shown: int, offset: str) -> int:
        """Return the index of the offset, which must apply at the start or end of the step."""
        seconds = _offset_seconds(offset) - self.shift
        for instant in (shown - seconds, shown + self.step - 1 - seconds):
            i = self._clock.segment(instant)
            if self._clock.offsets[i] == seconds:
                return i
        raise ValueError("another offset applies at this time")


def _numbering(zone: Clock, step: int) -> tuple[list[int], list[int]]:
    """Return, for each offset, the first ordinal that starts under it, and a shift.

    The ordinal of a step is the sum of its local number and the shift. Each change of the offset
    starts a new window, unless the clock stays within the same step.
    """
    firsts, shifts = [NEG], [0]
    for i, cut in enumerate(zone.cuts[1:], start=1):
        last = (cut - 1 + zone.offsets[i - 1]) // step
        shown, into = divmod(cut + zone.offsets[i], step)
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
