"""One axis of a partition space: what its keys are, in text and as positions.

A position is what keys are counted and sorted by: an integer ordinal for time and range, the index
in the list for static keys, the key itself for dynamic ones.
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
    """One dimension's part of a key, and the half-open window that it stands for.

    `start` and `end` are UTC datetimes for time, integers for range and None otherwise.
    """

    key: str
    start: datetime | int | None = None
    end: datetime | int | None = None


class Dimension(ABC):
    """What every kind of dimension does; `where` names it in messages."""

    __slots__ = ()

    is_ordered: ClassVar[bool]
    """Whether positions are integers on a grid, so that neighbours and a last one exist."""

    column: str | None
    """The table column that holds the dimension, as plain data."""

    @property
    @abstractmethod
    def universe(self) -> DimensionSet:
        """Every key that the dimension can have."""

    @abstractmethod
    def parse(self, text: str, where: str = "partition") -> DimensionSet:
        """The set that a key, an inclusive range `a..b` or `*` names.

        Raises:
            InvalidPartition: the dimension has no such key, or the range is empty.
        """

    @abstractmethod
    def format(self, position: Any) -> str:
        """The key at a position."""

    @abstractmethod
    def positions(self, members: Any) -> Iterable[Any]:
        """The positions of a finite set, ascending."""

    @abstractmethod
    def texts(self, members: Any) -> list[str]:
        """The fewest texts, in order, that `parse` reads back to the set."""

    @abstractmethod
    def text_count(self, members: Any) -> int:
        """The most texts that `texts` gives."""

    @abstractmethod
    def sort_key(self, members: Any) -> Any:
        """What to sort disjoint sets by, open ones too."""

    @abstractmethod
    def to_spec(self) -> dict[str, Any]:
        """The dimension as plain JSON data."""

    @abstractmethod
    def is_alike(self, other: Dimension) -> bool:
        """Whether a key of both means the same, whatever the bounds and the order of keys."""

    def spanning(self, members: Any) -> Any:
        """The fewest neighbours with these among them, where only neighbours have one text."""
        return members

    @abstractmethod
    def value(self, key: str, where: str = "partition") -> DimensionValue:
        """The key with its window; raises InvalidPartition unless it is one key."""


class OrderedDimension(Dimension):
    """A dimension on an integer grid; its sets are `Intervals` of ordinals.

    An ordinal stands for a half-open window, in seconds since 1970-01-01T00:00Z for time and in
    integers for range. Dimensions of a kind measure the same, so windows of two grids can overlap.
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
        """The half-open window of a key; raises InvalidPartition unless it is one key."""

    @property
    @abstractmethod
    def grid(self) -> tuple[Any, ...]:
        """Equal for two dimensions exactly when an ordinal is the same window in both."""

    @abstractmethod
    def ordinal(self, key: str, where: str) -> int:
        """The ordinal of a key, in or out of bounds; raises InvalidPartition."""

    @abstractmethod
    def windows(self, ordinals: Intervals) -> Intervals:
        """What the windows of these ordinals cover together."""

    @abstractmethod
    def overlapping(self, windows: Intervals) -> Intervals:
        """The ordinals whose windows overlap these, in or out of bounds."""

    def parse(self, text: str, where: str = "partition") -> Intervals:
        """See `Dimension`; an end of a range may be left open: `2013-02-01..`, `..2013-02-01`."""
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
        """See `Dimension`; the key is given back in the one way that `format` writes it."""
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
            raise InvalidPartition(
                f"{where}: {key!r} is out of bounds; its keys are {self._bounds()}"
            )
        return ordinal

    def _bounds(self) -> str:
        return ", ".join(self._texts(self.universe))

    def _texts(self, members: Intervals) -> Iterator[str]:
        for lo, hi in members.spans:
            first = self.format(lo) if lo > NEG else ""
            last = self.format(hi - 1) if hi < POS else ""
            yield first if hi - lo == 1 else first + TO + last
