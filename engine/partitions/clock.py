"""Local time of a time zone, from a cached table of all changes of its offset.

Instants are whole seconds since 1970-01-01T00:00Z; readings are local times, in seconds since local
1970-01-01T00:00. zoneinfo does not expose its transitions, so a search determines them.
"""

from __future__ import annotations

from bisect import bisect_left, bisect_right
from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from datetime import UTC, datetime, tzinfo
from functools import cache
from itertools import accumulate
from zoneinfo import ZoneInfo, ZoneInfoNotFoundError

from engine.errors import InvalidPartition
from engine.partitions.intervals import NEG

_SINCE = int(datetime(1840, 1, 1, tzinfo=UTC).timestamp())
_UNTIL = int(datetime(2200, 1, 1, tzinfo=UTC).timestamp())
_NEVER = -(2**80)  # below the reading of any ordinal of any grain
_STEP = 5 * 86_400  # shorter than any period between two changes
_LONGEST_OFFSET = 86_400  # no offset from UTC, and no change of one, is longer


@dataclass(frozen=True, slots=True)
class Clock:
    """The `offsets` of a zone from UTC in seconds; `offsets[i]` applies from instant `cuts[i]`.

    Changes from 1840 to 2200 are included; outside, the nearest offset applies. `peaks[i]` is the
    highest reading reached, exclusively, by the end of `offsets[i]`; `shown[i]` is the highest
    reading shown before the start. The last offset has no end.
    """

    cuts: tuple[int, ...]
    offsets: tuple[int, ...]
    peaks: tuple[int, ...]
    shown: tuple[int, ...]

    def segment(self, instant: int) -> int:
        """Return the index of the offset at an instant."""
        return bisect_right(self.cuts, instant) - 1

    def shifted(self, seconds: int) -> Clock:
        """Return a clock that is behind by a number of seconds."""
        if seconds == 0:
            return self
        parts = (self.offsets, self.peaks, self.shown)
        return Clock(self.cuts, *(tuple(n - seconds for n in part) for part in parts))

    def latest(self, reading: int) -> int:
        """Return the last instant at which the clock shows a reading, or an earlier one."""
        i = self.segment(reading + _LONGEST_OFFSET)
        while self.cuts[i] + self.offsets[i] > reading:
            i -= 1
        instant = reading - self.offsets[i]
        return min(instant, self.cuts[i + 1] - 1) if i + 1 < len(self.cuts) else instant

    def earliest_reading(self, instant: int) -> int:
        """Return the earliest reading shown at an instant or later."""
        i = self.segment(instant)
        until = self.segment(instant + _LONGEST_OFFSET)
        later = (self.cuts[n] + self.offsets[n] for n in range(i + 1, until + 1))
        return min([instant + self.offsets[i], *later])

    def readings(self, instants: list[int]) -> list[int]:
        """Return the highest reading shown up to each instant, in ascending order.

        The result is constant while the clock repeats readings.
        """
        readings: list[int] = []
        for after, piece in pieces(self.cuts, instants):
            offset, shown = self.offsets[after - 1], self.shown[after - 1]
            readings += [r if (r := t + offset) > shown else shown for t in piece]
        return readings

    def firsts(self, readings: list[int]) -> list[int]:
        """Return the first instant that reaches or passes each reading, in ascending order."""
        instants: list[int] = []
        for i, piece in pieces(self.peaks, readings):
            offset, cut = self.offsets[i], self.cuts[i]
            instants += [t if (t := r - offset) > cut else cut for r in piece]
        return instants


def pieces(limits: Sequence[int], values: list[int]) -> Iterator[tuple[int, list[int]]]:
    """Split ascending values at ascending limits; yield each piece after its number of limits.

    The number counts the limits less than or equal to the values of the piece.
    """
    start = 0
    while start < len(values):
        i = bisect_right(limits, values[start])
        end = bisect_left(values, limits[i], start) if i < len(limits) else len(values)
        yield i, values[start:end]
        start = end


@cache
def clock(zone: str) -> Clock:
    """Return the clock of an IANA zone.

    Raises:
        InvalidPartition: the zone does not exist.
    """
    changes = [(NEG, 0)] if zone == "UTC" else list(_changes(_zone_info(zone)))
    cuts, offsets = zip(*changes, strict=True)
    ends = (cut + offset for cut, offset in zip(cuts[1:], offsets, strict=False))
    peaks = tuple(accumulate(ends, max))
    return Clock(cuts, offsets, peaks, (_NEVER, *(peak - 1 for peak in peaks)))


def _zone_info(zone: str) -> ZoneInfo:
    try:
        return ZoneInfo(zone)
    except (ZoneInfoNotFoundError, ValueError, OSError) as error:
        raise InvalidPartition(
            f"there is no time zone {zone!r}; use an IANA name such as America/New_York"
        ) from error


def _changes(zone: tzinfo) -> Iterator[tuple[int, int]]:
    offset = _offset(_SINCE, zone)
    yield NEG, offset
    for instant in range(_SINCE, _UNTIL, _STEP):
        later = _offset(instant + _STEP, zone)
        if later != offset:
            yield _turn(instant, instant + _STEP, zone), later
            offset = later


def _turn(lo: int, hi: int, zone: tzinfo) -> int:
    before = _offset(lo, zone)
    while hi - lo > 1:
        middle = (lo + hi) // 2
        if _offset(middle, zone) == before:
            lo = middle
        else:
            hi = middle
    return hi


def _offset(instant: int, zone: tzinfo) -> int:
    shift = datetime.fromtimestamp(instant, zone).utcoffset()
    return int(shift.total_seconds()) if shift else 0
