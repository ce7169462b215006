"""Partitions by integer: buckets of equal size, counted from 0."""

from __future__ import annotations

import re
from dataclasses import dataclass, field, replace
from typing import Any, ClassVar

from engine.errors import InvalidPartition
from engine.partitions.dimension import OrderedDimension
from engine.partitions.intervals import NEG, POS, Intervals, Span

_INTEGER = r"(0|-?[1-9][0-9]*)"
_KEY = re.compile(f"{_INTEGER}-{_INTEGER}")
VALUES = range(-(2**127), 2**127)
"""Values permitted in keys, far from the open ends of intervals."""
_TOO_LARGE = "does not fit in 128 bits: use smaller integers"


@dataclass(frozen=True, slots=True)
class RangeDimension(OrderedDimension):
    """Buckets of `size` integers; bucket n contains n*size <= value < (n+1)*size.

    A key consists of the first and the last integer, joined by a dash: `0-9999`, `-10000--1`.
    `start` and `end` are half-open bounds of the values; partial buckets have the usual key.
    """

    kind: ClassVar[str] = "range"

    size: int
    start: int | None = None
    end: int | None = None
    column: str | None = field(default=None, compare=False)
    _universe: Intervals = field(init=False, repr=False, compare=False)

    def __post_init__(self) -> None:
        if self.size < 1:
            raise InvalidPartition(f"a range of size {self.size} is empty; set a size of 1 or more")
        for bound in (self.start, self.end, self.size):
            if bound is not None and bound not in VALUES:
                raise InvalidPartition(f"{bound} {_TOO_LARGE}")
        lo = NEG if self.start is None else self.start
        hi = POS if self.end is None else self.end
        if lo >= hi:
            raise InvalidPartition(
                f"no integer lies in [{self.start}, {self.end}); move the end past the start"
            )
        object.__setattr__(self, "_universe", self.overlapping(Intervals(((lo, hi),))))

    def unlimited(self) -> RangeDimension:
        """See `Dimension`."""
        return replace(self, start=None, end=None)

    @property
    def universe(self) -> Intervals:
        """See `Dimension`."""
        return self._universe

    @property
    def grid(self) -> tuple[Any, ...]:
        """See `OrderedDimension`."""
        return self.kind, self.size

    def ordinal(self, key: str, where: str) -> int:
        """See `OrderedDimension`."""
        match = _KEY.fullmatch(key)
        first = int(match[1]) if match else 0
        if first not in VALUES:
            raise InvalidPartition(f"{where}: {first} {_TOO_LARGE}")
        ordinal = first // self.size
        if key != self.format(ordinal):
            lo = self.universe.spans[0][0]
            raise InvalidPartition(
                f"{where}: {key!r} is not a bucket of {self.size}; "
                f"write first and last value, like {self.format(lo if lo > NEG else 0)}"
            )
        return ordinal

    def format(self, position: int) -> str:
        """See `Dimension`; raises InvalidPartition for integers not permitted in keys."""
        first = position * self.size
        if first not in VALUES:
            raise InvalidPartition(f"{first} {_TOO_LARGE}")
        return f"{first}-{first + self.size - 1}"

    def windows(self, ordinals: Intervals) -> Intervals:
        """See `OrderedDimension`."""
        return Intervals(tuple(self._scaled(span) for span in ordinals.spans))

    def overlapping(self, windows: Intervals) -> Intervals:
        """See `OrderedDimension`."""
        return Intervals.of(self._hull(span) for span in windows.spans)

    def window(self, key: str, where: str = "partition") -> Span:
        """Return the half-open window of a key: (first value, last value + 1)."""
        ordinal = self._within(key, where)
        return self._scaled((ordinal, ordinal + 1))

    def to_spec(self) -> dict[str, Any]:
        """See `Dimension`."""
        return {"range": self.size, "start": self.start, "end": self.end}

    def _scaled(self, span: Span) -> Span:
        lo, hi = span
        return lo * self.size if lo > NEG else NEG, hi * self.size if hi < POS else POS

    def _hull(self, span: Span) -> Span:
        lo, hi = span
        return lo // self.size if lo > NEG else NEG, -(-hi // self.size) if hi < POS else POS
