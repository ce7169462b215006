"""How the keys of one source dimension meet the keys of one target dimension.

`down`: which outputs does this input touch; `up`: which inputs does this output need. Results are
clamped to the universe of their side.
"""

from __future__ import annotations

from collections.abc import Mapping as MappingOf
from dataclasses import dataclass, field
from typing import Any, Protocol

from engine.partitions.dimension import Dimension, OrderedDimension
from engine.partitions.intervals import NEG, POS, Intervals
from engine.partitions.keyset import KeySet


class Relation(Protocol):
    """A relation between keys; `up` is the exact inverse of `down`."""

    def down(self, touched: Any, /) -> Any:
        """The target keys that any of these source keys touches, within the target's universe."""

    def up(self, needed: Any, /) -> Any:
        """The source keys that any of these target keys needs, within the source's universe."""


@dataclass(frozen=True, slots=True)
class Same:
    """A key meets the same key."""

    source: Dimension
    target: Dimension
    clamps: bool = field(init=False)

    def __post_init__(self) -> None:
        object.__setattr__(self, "clamps", self.source.universe != self.target.universe)

    def down(self, touched: Any, /) -> Any:
        """See `Relation`."""
        return touched & self.target.universe if self.clamps else touched

    def up(self, needed: Any, /) -> Any:
        """See `Relation`."""
        return needed & self.source.universe if self.clamps else needed


@dataclass(frozen=True, slots=True)
class Overlap:
    """A target key meets every source key whose half-open window overlaps its own.

    That holds across any two grains, zones or sizes. With `first` and `last` it meets what overlaps
    any of the windows from `first` to `last` places after its own on the target's grid, in the
    target's bounds or not: a trailing week is -6, 0.
    """

    source: OrderedDimension
    target: OrderedDimension
    first: int = 0
    last: int = 0

    def down(self, touched: Intervals, /) -> Intervals:
        """See `Relation`; aligns first, then applies the offsets reversed and negated."""
        aligned = self.target.overlapping(self.source.windows(touched))
        return _shifted(aligned, -self.last, -self.first) & self.target.universe

    def up(self, needed: Intervals, /) -> Intervals:
        """See `Relation`."""
        shifted = _shifted(needed, self.first, self.last)
        return self.source.overlapping(self.target.windows(shifted)) & self.source.universe


@dataclass(frozen=True, slots=True)
class KeyMap:
    """A source key meets the target keys that `targets` lists for it; unlisted ones meet none."""

    source: Dimension
    target: Dimension
    targets: MappingOf[str, frozenset[str]] = field(hash=False)

    def down(self, touched: KeySet, /) -> KeySet:
        """See `Relation`."""
        met = (keys for key, keys in self.targets.items() if key in touched)
        return KeySet(frozenset().union(*met))

    def up(self, needed: KeySet, /) -> KeySet:
        """See `Relation`."""
        items = self.targets.items()
        return KeySet(frozenset(key for key, keys in items if any(map(needed.__contains__, keys))))


def _shifted(ordinals: Intervals, first: int, last: int) -> Intervals:
    """Every ordinal's neighbours from `first` to `last` places on."""
    if first == last == 0:
        return ordinals
    spans = (
        (lo + first if lo > NEG else NEG, hi + last if hi < POS else POS)
        for lo, hi in ordinals.spans
    )
    return Intervals.of(spans)
