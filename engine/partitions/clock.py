"""What the clocks of a time zone read: every change of its offset, found once and kept.

Instants are whole seconds since 1970-01-01T00:00Z; readings are what a wall clock shows then, in
seconds since it showed 1970-01-01T00:00. zoneinfo keeps its transitions to itself, so they are
searched for here.
"""

from __future__ import annotations

from bisect import bisect_right
from collections.abc import Iterator
from dataclasses import dataclass
from datetime import UTC, datetime, tzinfo
from functools import cache
from itertools import accumulate
from zoneinfo import ZoneInfo, ZoneInfoNotFoundError

from engine.errors import InvalidPartition
from engine.partitions.intervals import NEG, POS

_SINCE = int(datetime(1840, 1, 1, tzinfo=UTC).timestamp())
_UNTIL = int(datetime(2200, 1, 1, tzinfo=UTC).timestamp())
_STEP = 5 * 86_400  # shorter than any spell between two changes


@dataclass(frozen=True, slots=True)
class Clock:
    """The offsets of a zone from UTC, in seconds, and since when each holds.

    Changes are followed from 1840 to 2200; outside, the nearest known offset goes on.
    `peaks[i]` is the reading that the clock has come to, and not passed, when `offsets[i]` ends.
    """

    cuts: tuple[int, ...]
    offsets: tuple[int, ...]
    peaks: tuple[int, ...]

    def segment(self, instant: int) -> int:
        """The index of the offset in force."""
        return bisect_right(self.cuts, instant) - 1

    def reading(self, instant: int) -> int:
        """The latest reading shown so far: it stands still while the clock repeats itself."""
        i = bisect_right(self.cuts, instant) - 1
        shown = instant + self.offsets[i]
        return max(shown, self.peaks[i - 1] - 1) if i else shown

    def first(self, reading: int) -> int:
        """The first instant at which the clock shows the reading, or is past it."""
        i = bisect_right(self.peaks, reading)
        return max(self.cuts[i], reading - self.offsets[i])


@cache
def clock(zone: str) -> Clock:
    """The clock of an IANA zone.

    Raises:
        InvalidPartition: there is no such zone.
    """
    changes = [(NEG, 0)] if zone == "UTC" else list(_changes(_zone_info(zone)))
    cuts, offsets = zip(*changes, strict=True)
    ends = (cut + offset for cut, offset in zip(cuts[1:], offsets, strict=False))
    return Clock(cuts, offsets, (*accumulate(ends, max), 2 * POS))


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
