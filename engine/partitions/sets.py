"""Immutable sets of partitions."""

from __future__ import annotations

from collections.abc import Iterable, Sequence
from dataclasses import dataclass
from itertools import chain
from math import prod
from operator import and_, or_, sub
from typing import TYPE_CHECKING

from engine.errors import InvalidPartition
from engine.partitions.boxes import Box, canonical, combined
from engine.partitions.limits import can_be_listed

if TYPE_CHECKING:
    from engine.partitions.space import PartitionSpace


@dataclass(frozen=True, slots=True, eq=False, repr=False)
class PartitionSet:
    """An immutable, possibly unbounded set of partitions of one space.

    `boxes` must be disjoint and canonical (see `boxes`), which the constructor does not verify;
    `of` accepts any boxes. Operators raise InvalidPartition for sets of different spaces.
    """

    space: PartitionSpace
    boxes: tuple[Box, ...]

    @staticmethod
    def of(space: PartitionSpace, boxes: Iterable[Box]) -> PartitionSet:
        """Return the union of boxes, which may overlap or be empty."""
        return PartitionSet(space, canonical(boxes))

    @staticmethod
    def union(sets: Sequence[PartitionSet], /) -> PartitionSet:
        """Return the union of one or more sets of one space, with a single sort."""
        first = sets[0]
        if len(sets) == 1 or all(other is first or other == first for other in sets):
            return first
        return PartitionSet.of(first.space, chain.from_iterable(s.boxes for s in sets))

    @property
    def is_finite(self) -> bool:
        """True if the set has finitely many partitions."""
        return all(part.is_finite for box in self.boxes for part in box)

    def is_listable(self, limit: int | None = None) -> bool:
        """Return True if the set has at most ``limit`` partitions, by default `MAX_KEYS`."""
        return self.is_finite and can_be_listed(self.count(), limit)

    def count(self) -> int:
        """Return the number of partitions; raises InvalidPartition for an unbounded set."""
        if not self.is_finite:
            raise InvalidPartition(
                "an unbounded set of partitions cannot be counted; intersect it with a finite set"
            )
        return sum(prod(part.count() for part in box) for box in self.boxes)

    def covers(self, other: PartitionSet) -> bool:
        """Return True if every partition of `other` is in this set."""
        return self is other or not (other - self).boxes

    def __bool__(self) -> bool:
        return bool(self.boxes)

    def __eq__(self, other: object) -> bool:
        if self is other:
            return True
        if not isinstance(other, PartitionSet):
            return NotImplemented
        if self.space != other.space or len(self.boxes) != len(other.boxes):
            return False
        return self.boxes == other.boxes or frozenset(self.boxes) == frozenset(other.boxes)

    def __repr__(self) -> str:
        return f"<PartitionSet {', '.join(self.space.first_texts(self, 20))}>"

    def __hash__(self) -> int:
        return hash(frozenset(self.boxes))

    def __or__(self, other: PartitionSet) -> PartitionSet:
        if self is other:
            return self
        self._check(other)
        if not other.boxes or self.boxes == other.boxes:
            return self
        return PartitionSet(self.space, combined(or_, self.boxes, other.boxes))

    def __and__(self, other: PartitionSet) -> PartitionSet:
        if self is other:
            return self
        self._check(other)
        if self.boxes == other.boxes:
            return self
        return PartitionSet(self.space, combined(and_, self.boxes, other.boxes))

    def __sub__(self, other: PartitionSet) -> PartitionSet:
        self._check(other)
        if self.boxes == other.boxes:
            return self.space.empty
        return PartitionSet(self.space, combined(sub, self.boxes, other.boxes))

    def _check(self, other: PartitionSet) -> None:
        if self.space is not other.space and self.space != other.space:
            raise InvalidPartition(
                f"partitions of {self.space.to_spec()} and {other.space.to_spec()} do not mix; "
                "map one set into the other's space first"
            )
