"""The keys of a finite set one by one, in order."""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from heapq import merge
from itertools import repeat
from typing import Any

from engine.partitions.boxes import Box, tails
from engine.partitions.dimension import Dimension

Point = tuple[Any, ...]
"""One position per dimension."""


def points(dimensions: Sequence[Dimension], boxes: Sequence[Box]) -> Iterator[Point]:
    """The positions within canonical, finite boxes, ascending by the first dimension first."""
    if not dimensions:
        return iter([()] if boxes else [])
    if len(boxes) == 1 and len(dimensions) == 1:
        return ((position,) for position in dimensions[0].positions(boxes[0][0]))
    return _merged(dimensions, boxes)


def _merged(dimensions: Sequence[Dimension], boxes: Sequence[Box]) -> Iterator[Point]:
    first, rest = dimensions[0], dimensions[1:]
    under = tails(boxes)
    # Canonical boxes have first sets that are equal or disjoint: no position comes twice.
    levels = [zip(first.positions(part), repeat(part)) for part in under]
    for position, part in merge(*levels, key=lambda pair: pair[0]):
        for point in points(rest, under[part]):
            yield (position, *point)


def blocks(
    dimensions: Sequence[Dimension], boxes: Sequence[Box], size: int
) -> dict[Point, list[Point]]:
    """The points by the first point of their block, see `PartitionSpace.blocks`."""
    axis = next((i for i, d in enumerate(dimensions) if d.is_ordered), None)
    found: dict[Point, list[Point]] = {}
    for point in points(dimensions, boxes):
        slot = point if axis is None else _slot(point, axis, size)
        found.setdefault(slot, []).append(point)
    return found


def _slot(point: Point, axis: int, size: int) -> Point:
    return (*point[:axis], point[axis] // size * size, *point[axis + 1 :])
