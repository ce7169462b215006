"""Sets of integers as sorted, disjoint, half-open intervals: 35,000 hours can be one pair."""

from __future__ import annotations

from bisect import bisect_right
from collections.abc import Iterable, Iterator, Sequence
from dataclasses import dataclass
from itertools import chain

from engine.partitions.limits import check_pieces

NEG = -(2**160)
"""The open lower end, below every ordinal and every value of a range."""
POS = 2**160
"""The open upper end, above every ordinal and every value of a range."""

Span = tuple[int, int]


@dataclass(frozen=True, slots=True)
class Intervals:
    """An immutable set of integers.

    `spans` are `(lo, hi)` pairs, each with the integers lo <= n < hi, in ascending order, with gaps
    in between. The constructor does not verify this order; `of` accepts any pairs.
    """

    spans: tuple[Span, ...] = ()

    @staticmethod
    def of(pairs: Iterable[Span]) -> Intervals:
        """Return the union of pairs in any order, which may be empty or overlap."""
        spans: list[Span] = []
        end = NEG - 1
        for lo, hi in sorted(pairs):
            if lo >= hi:
                continue
            if lo > end:
                spans.append((lo, hi))
                end = hi
            elif hi > end:
                spans[-1] = (spans[-1][0], hi)
                end = hi
        return Intervals(tuple(spans))

    @staticmethod
    def single(ordinal: int) -> Intervals:
        """Return the set of one integer."""
        return Intervals(((ordinal, ordinal + 1),))

    @staticmethod
    def union(sets: Sequence[Intervals], /) -> Intervals:
        """Return the union of many sets with a single sort."""
        if len(sets) == 1:
            return sets[0]
        return Intervals.of(chain.from_iterable(s.spans for s in sets))

    @staticmethod
    def atoms(sets: Sequence[Intervals], /) -> list[tuple[Intervals, frozenset[int]]]:
        """Split overlapping sets into disjoint pieces, each with the indexes of its owners.

        The algorithm sweeps over the ends of all spans; each end starts or ends its set.
        """
        if len(sets) == 1:
            return [(sets[0], frozenset((0,)))]
        ends = sorted((end, i) for i, s in enumerate(sets) for span in s.spans for end in span)
        pieces: dict[frozenset[int], list[Span]] = {}
        active: set[int] = set()
        since, total = NEG, 0
        for end, i in ends:
            if active and since < end:
                total += len(active)
                check_pieces(total)
                pieces.setdefault(frozenset(active), []).append((since, end))
            active ^= {i}
            since = end
        return [(Intervals.of(spans), owners) for owners, spans in pieces.items()]

    @property
    def is_finite(self) -> bool:
        """True if neither end is open."""
        return not self.spans or (self.spans[0][0] > NEG and self.spans[-1][1] < POS)

    def count(self) -> int:
        """Return the number of integers of a finite set."""
        return sum(hi - lo for lo, hi in self.spans)

    def __bool__(self) -> bool:
        return bool(self.spans)

    def __contains__(self, ordinal: int) -> bool:
        i = bisect_right(self.spans, (ordinal, POS)) - 1
        return i >= 0 and ordinal < self.spans[i][1]

    def __iter__(self) -> Iterator[int]:
        return chain.from_iterable(range(lo, hi) for lo, hi in self.spans)

    def __or__(self, other: Intervals) -> Intervals:
        if self is other or not other.spans or self.spans == other.spans:
            return self
        if not self.spans:
            return other
        # `of` sorts two sorted runs in linear time.
        return Intervals.of(self.spans + other.spans)

    def __and__(self, other: Intervals) -> Intervals:
        if self is other or not self.spans:
            return self
        if not other.spans:
            return other
        if len(other.spans) == 1:
            return self._clip(*other.spans[0])
        if len(self.spans) == 1:
            return other._clip(*self.spans[0])
        return Intervals(tuple(_meet(self.spans, other.spans)))

    def __sub__(self, other: Intervals) -> Intervals:
        if not self.spans or not other.spans:
            return self
        return self & ~other

    def __invert__(self) -> Intervals:
        ends = (NEG, *chain.from_iterable(self.spans), POS)
        gaps = zip(ends[::2], ends[1::2], strict=True)
        return Intervals(tuple(gap for gap in gaps if gap[0] < gap[1]))

    def _clip(self, lo: int, hi: int) -> Intervals:
        spans = self.spans
        if lo <= spans[0][0] and spans[-1][1] <= hi:
            return self
        clipped = ((max(a, lo), min(b, hi)) for a, b in spans if a < hi and b > lo)
        return Intervals(tuple(clipped))


def _meet(left: tuple[Span, ...], right: tuple[Span, ...]) -> Iterator[Span]:
    i = j = 0
    while i < len(left) and j < len(right):
        lo = max(left[i][0], right[j][0])
        hi = min(left[i][1], right[j][1])
        if lo < hi:
            yield lo, hi
        if left[i][1] < right[j][1]:
            i += 1
        else:
            j += 1
