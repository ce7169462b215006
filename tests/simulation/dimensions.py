"""Partitions as plain values: dimensions are lists of keys, windows come from plain datetime.

No code is shared with the engine, whose results are compared with this model.
"""

from __future__ import annotations

import itertools
from collections.abc import Iterator
from dataclasses import dataclass
from datetime import date
from functools import cache
from typing import Any

from tests.property.partitions.windows import spec_of, windows

Key = tuple[str, ...]
"""A text per dimension."""

_BUCKETS = 40


@dataclass(frozen=True)
class Dimension:
    """A partition dimension; ``bounds`` are half-open grid indexes, and None leaves an end open."""

    name: str
    kind: str
    grain: str = ""
    zone: str = "UTC"
    anchor: date = date(2013, 1, 1)
    size: int = 0
    keys: tuple[str, ...] = ()
    bounds: tuple[int | None, int | None] = (None, None)

    @property
    def is_finite(self) -> bool:
        return self.kind == "static" or (self.is_ordered and None not in self.bounds)

    @property
    def is_ordered(self) -> bool:
        return self.kind in ("time", "range")

    @property
    def universe(self) -> tuple[str, ...]:
        """Return the possible keys; if unbounded, those reachable in a short history."""
        return self.grid[slice(*self.bounds)]

    @property
    def grid(self) -> tuple[str, ...]:
        return _grid(self)

    def span(self, index: int) -> tuple[Any, Any]:
        """Return the start and end of the window at a grid index."""
        if self.kind == "time":
            window = windows(self.grain, self.zone, self.anchor)[index]
            return window.start, window.end
        return index * self.size, (index + 1) * self.size

    def spec(self) -> dict[str, Any]:
        lo, hi = self.bounds
        if self.kind == "static":
            return {"static": list(self.keys)}
        if self.kind == "dynamic":
            return {"dynamic": True}
        if self.kind == "range":
            ends = {"start": lo, "end": hi}
            keys = {name: index * self.size for name, index in ends.items() if index is not None}
            return {"range": self.size} | keys
        ends = {"start": lo, "end": hi}
        keys = {name: self.grid[index] for name, index in ends.items() if index is not None}
        return spec_of(self.grain) | {"zone": self.zone} | keys


@cache
def _grid(dimension: Dimension) -> tuple[str, ...]:
    if dimension.kind == "time":
        grid = windows(dimension.grain, dimension.zone, dimension.anchor)
        return tuple(window.key for window in grid)
    if dimension.kind == "range":
        size = dimension.size
        return tuple(f"{n * size}-{n * size + size - 1}" for n in range(_BUCKETS))
    return dimension.keys


Space = tuple[Dimension, ...]


def text(space: Space, key: Key) -> str:
    """Format a key as the engine does."""
    if not space:
        return "*"
    if len(space) == 1:
        return key[0]
    return "/".join(f"{d.name}={part}" for d, part in zip(space, key, strict=True))


def universe(space: Space) -> Iterator[Key]:
    return itertools.product(*(d.universe for d in space))


def is_finite(space: Space) -> bool:
    return all(d.is_finite for d in space)


@cache
def read_text(space: Space, selection: str | None) -> frozenset[Key]:
    """Return the keys named by a key, a range, or a partial key."""
    parts = {d.name: set(d.universe) for d in space}
    for piece in [] if selection in (None, "*") else selection.split("/"):
        name, _, values = piece.rpartition("=") if len(space) > 1 else (space[0].name, "", piece)
        dimension = next(d for d in space if d.name == name)
        first, _, last = values.partition("..")
        ends = first, last or first
        if not {*ends} <= {*dimension.grid}:
            return frozenset()  # a deploy has removed the key
        lo, hi = map(dimension.grid.index, ends)
        parts[name] &= set(dimension.grid[lo : hi + 1])
    return frozenset(itertools.product(*(parts[d.name] for d in space)))
