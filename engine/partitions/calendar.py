"""Time windows of a grain in a zone: instants, integer ordinals and text keys.

Windows are half-open and follow one another without a gap.
"""

from __future__ import annotations

from abc import ABC, abstractmethod
from itertools import chain

from engine.partitions.intervals import NEG, POS, Intervals

HOUR = 3600
DAY = 24 * HOUR


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

    def windows(self, ordinals: Intervals) -> Intervals:
        """The instants within the windows together."""
        starts = self.starts(list(chain.from_iterable(ordinals.spans)))
        return _paired(ordinals, starts[::2], starts[1::2])

    def overlapping(self, instants: Intervals) -> Intervals:
        """The ordinals of the windows that share an instant with these."""
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
