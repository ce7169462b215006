"""Interface of sets of one dimension's keys."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any, Protocol, Self


class DimensionSet(Protocol):
    """An immutable, hashable set of one dimension's keys: `Intervals` or `KeySet`."""

    @property
    def is_finite(self) -> bool:
        """True if the set has finitely many keys."""

    def __bool__(self) -> bool: ...
    def __or__(self, other: Any, /) -> Self: ...
    def __and__(self, other: Any, /) -> Self: ...
    def __sub__(self, other: Any, /) -> Self: ...

    def count(self) -> int:
        """Return the number of keys of a finite set."""

    @staticmethod
    def union(sets: Sequence[Any], /) -> Any:
        """Return the union of sets of this type."""

    @staticmethod
    def atoms(sets: Sequence[Any], /) -> list[tuple[Any, frozenset[int]]]:
        """Split overlapping sets into disjoint pieces, each with the indexes of its owners."""
