"""Time windows of a grain in a zone: instants, integer ordinals and text keys.

Windows are half-open and adjoin without gaps.
"""

from __future__ import annotations

from abc import ABC, abstractmethod
from itertools import chain

from engine.partitions.intervals import NEG, POS, Intervals

MINUTE = 60
HOUR = 60 * MINUTE
DAY = 24 * HOUR


class Calendar(ABC):
    """One grid of windows in one zone."""

    example: str
    """Example of a key."""

    skipped: Intervals = Intervals()
    """Ordinals of empty windows, which the zone's clock skipped."""

    is_daily: bool = True
    """True if every window starts at midnight of a day, so that dates identify windows."""

    shift: int = 0
    """Seconds after the start of the plain grain (Monday, midnight) at which windows start."""

    resolution: int = DAY
    """Seconds; readings at which windows start are multiples, except after clock changes."""

    @abstractmethod
    def starts(self, ordinals: list[int]) -> list[int]:
        """Return the start of each window in seconds since 1970, in ascending order."""

    @abstractmethod
    def at(self, instants: list[int]) -> list[int]:
        """Return the ordinals of the windows that contain the instants, in ascending order."""

    @abstractmethod
    def format(self, ordinal: int) -> str:
        """Return the window's key; raises ValueError outside the range of `date`."""

    @abstractmethod
    def parse(self, key: str) -> int:
        """Return the ordinal of a key; raises ValueError for an invalid key."""

    def windows(self, ordinals: Intervals) -> Intervals:
        """Return all instants within the windows."""
        starts = self.starts(list(chain.from_iterable(ordinals.spans)))
        return _paired(ordinals, starts[::2], starts[1::2])

    def overlapping(self, instants: Intervals) -> Intervals:
        """Return the ordinals of windows that contain any of the instants."""
        firsts = self.at([lo for lo, _ in instants.spans])
        lasts = self.at([hi - 1 for _, hi in instants.spans])
        return _paired(instants, firsts, [last + 1 for last in lasts]) - self.skipped


def _paired(original: Intervals, los: list[int], his: list[int]) -> Intervals:
    """Combine converted ends to intervals; open ends of the original stay open."""
    if original and original.spans[0][0] == NEG:
        los[0] = NEG
    if original and original.spans[-1][1] == POS:
        his[-1] = POS
    return Intervals.of(zip(los, his, strict=True))
