"""Dimensions of a partition space: their keys, as texts and as positions.

Positions define the order of keys: integer ordinals for time and range, indexes in the list for
static keys, and the keys themselves for dynamic dimensions.
"""

from __future__ import annotations

from abc import ABC, abstractmethod
from collections.abc import Iterable, Iterator
from dataclasses import dataclass
from datetime import datetime
from typing import Any, ClassVar

from engine.errors import InvalidPartition
from engine.partitions.dimension_set import DimensionSet
from engine.partitions.intervals import NEG, POS, Intervals

EVERYTHING = "*"
TO = ".."


@dataclass(frozen=True, slots=True)
class DimensionValue:
    """One dimension's part of a key, with the half-open window of the key.

    `start` and `end` are UTC datetimes for time, integers for range and None otherwise.
    """

    key: str
    start: datetime | int | None = None
    end: datetime | int | None = None


class Dimension(ABC):
    """Interface of all dimensions; `where` is the start of messages."""

    __slots__ = ()

    is_ordered: ClassVar[bool]
    """True if positions are integers on a grid, with neighbors and an order."""

    column: str | None
    """Table column that stores the dimension; None if the column has the dimension's name."""

    @property
    @abstractmethod
    def universe(self) -> DimensionSet:
        """Set of all possible keys."""

    @abstractmethod
    def parse(self, text: str, where: str = "partition") -> DimensionSet:
        """Parse a key, an inclusive range `a..b` or `*` to a set.

        Raises:
            InvalidPartition: the dimension has no such key, or the range is empty.
        """

    @abstractmethod
    def format(self, position: Any) -> str:
        """Return the key at a position."""

    @abstractmethod
    def positions(self, members: Any) -> Iterable[Any]:
        """Return the positions of a finite set in ascending order."""

    @abstractmethod
    def texts(self, members: Any) -> list[str]:
        """Return the fewest texts, in order, whose parsed union is the set."""

    @abstractmethod
    def text_count(self, members: Any) -> int:
        """Return an upper bound for the number of `texts`."""

    @abstractmethod
    def sort_key(self, members: Any) -> Any:
        """Return a sort key for disjoint sets, which may be unbounded."""

    @abstractmethod
    def to_spec(self) -> dict[str, Any]:
        """Return the dimension as JSON data."""

    @abstractmethod
    def is_alike(self, other: Dimension) -> bool:
        """Return True if shared keys have the same meaning, regardless of bounds and order."""

    @abstractmethod
    def unlimited(self) -> Dimension:
        """Return the dimension with the keys of every dimension that is alike."""

    def spanning(self, members: Any) -> Any:
        """Return the smallest superset that a single text can denote."""
        return members

    @abstractmethod
    def value(self, key: str, where: str = "partition") -> DimensionValue:
        """Return a key with its window; raises InvalidPartition unless the text is a single key."""


class OrderedDimension(Dimension):
    """A dimension on an integer grid; its sets are `Intervals` of ordinals.

    An ordinal denotes a half-open window, in seconds since 1970-01-01T00:00Z for time and in
    integers for range. Windows of dimensions of the same kind are comparable.
    """

    __slots__ = ()

    is_ordered = True
    kind: ClassVar[str]

    @property
    @abstractmethod
    def universe(self) -> Intervals:
        """See `Dimension`."""

    @abstractmethod
    def window(self, key: str, where: str = "partition") -> tuple[Any, Any]:
        """Return the half-open window; raises InvalidPartition unless the text is a single key."""

    @property
    @abstractmethod
    def grid(self) -> tuple[Any, ...]:
        """Identity of the grid: equal if and only if each ordinal has the same window in both."""

    @abstractmethod
    def ordinal(self, key: str, where: str) -> int:
        """Return the ordinal of a key, even out of bounds; raises InvalidPartition."""

    @abstractmethod
    def windows(self, ordinals: Intervals) -> Intervals:
        """Return the union of the windows of the ordinals."""

    @abstractmethod
    def overlapping(self, windows: Intervals) -> Intervals:
        """Return the ordinals whose windows overlap the given ones, even out of bounds."""

    def parse(self, text: str, where: str = "partition") -> Intervals:
        """See `Dimension`; a range may be open at one end: `2013-02-01..`, `..2013-02-01`."""
        if text == EVERYTHING:
            return self.universe
        first, to, last = text.partition(TO)
        if not to:
            return Intervals.single(self._within(text, where))
        lo = self._within(first, where) if first or not last else NEG
        hi = self._within(last, where) + 1 if last else POS
        if lo >= hi:
            raise InvalidPartition(
                f"{where}: the range {text!r} ends before it starts; write {last}{TO}{first}"
            )
        return Intervals(((lo, hi),)) & self.universe

    def positions(self, members: Intervals) -> Iterable[int]:
        """See `Dimension`."""
        return members

    def value(self, key: str, where: str = "partition") -> DimensionValue:
        """See `Dimension`; the returned key is normalized by `format`."""
        return DimensionValue(self.format(self._within(key, where)), *self.window(key, where))

    def texts(self, members: Intervals) -> list[str]:
        """See `Dimension`."""
        return list(self._texts(members))

    def text_count(self, members: Intervals) -> int:
        """See `Dimension`."""
        return len(members.spans)

    def sort_key(self, members: Intervals) -> tuple[tuple[int, int], ...]:
        """See `Dimension`."""
        return members.spans

    def is_alike(self, other: Dimension) -> bool:
        """See `Dimension`."""
        return isinstance(other, OrderedDimension) and self.grid == other.grid

    def _within(self, key: str, where: str) -> int:
        ordinal = self.ordinal(key, where)
        if ordinal not in self.universe:
            bounds = ", ".join(self._texts(self.universe))
            raise InvalidPartition(f"{where}: {key!r} is out of bounds; the keys are {bounds}")
        return ordinal

    def _texts(self, members: Intervals) -> Iterator[str]:
        for lo, hi in members.spans:
            first = self.format(lo) if lo > NEG else ""
            last = self.format(hi - 1) if hi < POS else ""
            yield first if hi - lo == 1 else first + TO + last
