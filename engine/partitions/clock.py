"""What the clocks of a time zone read: every change of its offset, found once and kept.

Instants are whole seconds since 1970-01-01T00:00Z; readings are what a wall clock shows then, in
seconds since it showed 1970-01-01T00:00. zoneinfo keeps its transitions to itself, so they are
searched for here.
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
_STEP = 5 * 86_400  # shorter than any spell between two changes


@dataclass(frozen=True, slots=True)
class Clock:
    """The `offsets` of a zone from UTC, in seconds; `cuts[i]` is the instant since when each holds.

    Changes are followed from 1840 to 2200; outside, the nearest known offset goes on.
    `peaks[i]` is the reading that the clock has come to, and not passed, when `offsets[i]` ends;
    `shown[i]` is the latest one shown before it starts. The last offset has no end.
    """

    cuts: tuple[int, ...]
    offsets: tuple[int, ...]
    peaks: tuple[int, ...]
    shown: tuple[int, ...]

    def segment(self, instant: int) -> int:
        """The index of the offset in force."""
        return bisect_right(self.cuts, instant) - 1

    def readings(self, instants: list[int]) -> list[int]:
        """The latest reading shown by each instant, all ascending.

        It stands still while the clock repeats itself.
        """
        readings: list[int] = []
        for after, some in pieces(self.cuts, instants):
            offset, shown = self.offsets[after - 1], self.shown[after - 1]
            readings += [r if (r := t + offset) > shown else shown for t in some]
        return readings

    def firsts(self, readings: list[int]) -> list[int]:
        """The first instant at which the clock shows each reading, or is past it, all ascending."""
        instants: list[int] = []
        for i, some in pieces(self.peaks, readings):
            offset, cut = self.offsets[i], self.cuts[i]
            instants += [t if (t := r - offset) > cut else cut for r in some]
        return instants


def pieces(limits: Sequence[int], values: list[int]) -> Iterator[tuple[int, list[int]]]:
    """Ascending values cut at ascending limits, with how many limits are not above each piece."""
    at = 0
    while at < len(values):
        i = bisect_right(limits, values[at])
        until = bisect_left(values, limits[i], at) if i < len(limits) else len(values)
        yield i, values[at:until]
        at = until


@cache
def clock(zone: str) -> Clock:
    """The clock of an IANA zone.

    Raises:
        InvalidPartition: there is no such zone.
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
