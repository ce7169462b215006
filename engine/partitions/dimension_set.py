"""What a dimension's set of keys can do, whichever way it is held."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any, Protocol, Self


class DimensionSet(Protocol):
    """An immutable, hashable set of one dimension's keys: `Intervals` or `KeySet`."""

    @property
    def is_finite(self) -> bool:
        """Whether the keys can be listed."""

    def __bool__(self) -> bool: ...
    def __or__(self, other: Any, /) -> Self: ...
    def __and__(self, other: Any, /) -> Self: ...
    def __sub__(self, other: Any, /) -> Self: ...

    def count(self) -> int:
        """How many keys a finite set holds."""

    @staticmethod
    def union(sets: Sequence[Any], /) -> Any:
        """The union of many sets of this kind."""

    @staticmethod
    def atoms(sets: Sequence[Any], /) -> list[tuple[Any, frozenset[int]]]:
        """Cut sets that overlap into disjoint pieces, each with the indexes of its owners."""
