"""Relations between the keys of a source dimension and those of a target dimension.

`down` maps inputs to the outputs that they affect, `up` maps outputs to the inputs that they need.
Results are restricted to the universe of their side.
"""

from __future__ import annotations

from collections.abc import Mapping as MappingOf
from dataclasses import dataclass, field
from typing import Any, Protocol

from engine.partitions.dimension import Dimension, OrderedDimension
from engine.partitions.intervals import NEG, POS, Intervals
from engine.partitions.keyset import KeySet
from engine.partitions.time_dimension import TimeDimension


class Relation(Protocol):
    """A relation between keys; `up` is the exact inverse of `down`."""

    def down(self, sources: Any, /) -> Any:
        """Return the target keys affected by any of these source keys."""

    def up(self, targets: Any, /) -> Any:
        """Return the source keys needed by any of these target keys."""


@dataclass(frozen=True, slots=True)
class Same:
    """Relates equal keys."""

    source: Dimension
    target: Dimension
    clamps: bool = field(init=False)

    def __post_init__(self) -> None:
        object.__setattr__(self, "clamps", self.source.universe != self.target.universe)

    def down(self, sources: Any, /) -> Any:
        """See `Relation`."""
        return sources & self.target.universe if self.clamps else sources

    def up(self, targets: Any, /) -> Any:
        """See `Relation`."""
        return targets & self.source.universe if self.clamps else targets


@dataclass(frozen=True, slots=True)
class Overlap:
    """Relates keys with overlapping half-open windows, across grains, zones and sizes.

    `first` and `last` extend a target key to the windows at these offsets on the target's grid,
    even out of the target's bounds: a trailing week of days is -6, 0. With `counts_sources` they
    extend the source keys that overlap the target key, on the source's grid.
    """

    source: OrderedDimension
    target: OrderedDimension
    first: int = 0
    last: int = 0
    counts_sources: bool = False

    def down(self, sources: Intervals, /) -> Intervals:
        """See `Relation`; aligns first, then applies the offsets reversed and negated.

        Offsets of sources are applied before the alignment.
        """
        if self.counts_sources:
            shifted = _shifted(sources, -self.last, -self.first)
            return self.target.overlapping(self.source.windows(shifted)) & self.target.universe
        aligned = self.target.overlapping(self.source.windows(sources))
        return _shifted(aligned, -self.last, -self.first) & self.target.universe

    def up(self, targets: Intervals, /) -> Intervals:
        """See `Relation`."""
        if self.counts_sources:
            aligned = self.source.overlapping(self.target.windows(targets))
            return _shifted(aligned, self.first, self.last) & self.source.universe
        shifted = _shifted(targets, self.first, self.last)
        return self.source.overlapping(self.target.windows(shifted)) & self.source.universe

    def within(self, sources: Intervals, targets: Intervals, /) -> Intervals:
        """Return the target keys that need a source key whose window is within their own window.

        None if the offsets exclude 0: such a source key counts for other windows.
        """
        if not self.first <= 0 <= self.last:
            return Intervals()
        if self.source.grid == self.target.grid:
            return sources & targets
        if isinstance(self.source, TimeDimension) and isinstance(self.target, TimeDimension):
            return self.target.containing(sources, self.source, targets)
        return Intervals()


@dataclass(frozen=True, slots=True)
class KeyMap:
    """Relates a source key to the target keys in `targets`; other source keys have none."""

    source: Dimension
    target: Dimension
    targets: MappingOf[str, frozenset[str]] = field(hash=False)

    def down(self, sources: KeySet, /) -> KeySet:
        """See `Relation`."""
        affected = (keys for key, keys in self.targets.items() if key in sources)
        return KeySet(frozenset().union(*affected))

    def up(self, targets: KeySet, /) -> KeySet:
        """See `Relation`."""
        items = self.targets.items()
        return KeySet(frozenset(key for key, keys in items if any(map(targets.__contains__, keys))))


def _shifted(ordinals: Intervals, first: int, last: int) -> Intervals:
    """Replace each ordinal by its neighbors at offsets from `first` to `last`."""
    if first == last == 0:
        return ordinals
    spans = (
        (lo + first if lo > NEG else NEG, hi + last if hi < POS else POS)
        for lo, hi in ordinals.spans
    )
    return Intervals.of(spans)
