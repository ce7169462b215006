"""Values computed from a lineage, kept until a deploy replaces the lineage."""

from collections.abc import Hashable
from typing import Generic, TypeVar

from engine.lineage.graph import Lineage

K = TypeVar("K", bound=Hashable)
V = TypeVar("V")


class LineageCache(Generic[K, V]):
    """Values by key, at most ``most``; the oldest is dropped first."""

    def __init__(self, most: int) -> None:
        self._most = most
        self._values: dict[K, tuple[Lineage, V]] = {}

    def get(self, key: K, lineage: Lineage) -> V | None:
        """Return the value of a key, None if there is none for this lineage."""
        cached = self._values.get(key)
        return cached[1] if cached is not None and cached[0] is lineage else None

    def put(self, key: K, lineage: Lineage, value: V) -> V:
        """Keep a value, and return it."""
        if key not in self._values and len(self._values) >= self._most:
            del self._values[next(iter(self._values))]
        self._values[key] = lineage, value
        return value
