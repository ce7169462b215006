"""Listings of finite sets in order."""

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
    """Yield the points of canonical, finite boxes in lexicographic order."""
    if not dimensions:
        return iter([()] if boxes else [])
    if len(boxes) == 1 and len(dimensions) == 1:
        return ((position,) for position in dimensions[0].positions(boxes[0][0]))
    return _merged(dimensions, boxes)


def _merged(dimensions: Sequence[Dimension], boxes: Sequence[Box]) -> Iterator[Point]:
    first, rest = dimensions[0], dimensions[1:]
    tails_of = tails(boxes)
    # The first sets of canonical boxes are equal or disjoint, so that positions are distinct.
    levels = [zip(first.positions(part), repeat(part)) for part in tails_of]
    for position, part in merge(*levels, key=lambda pair: pair[0]):
        for point in points(rest, tails_of[part]):
            yield (position, *point)


def blocks(
    dimensions: Sequence[Dimension], boxes: Sequence[Box], size: int
) -> dict[Point, list[Point]]:
    """Group points by the first point of their block; see `PartitionSpace.blocks`."""
    axis = next((i for i, d in enumerate(dimensions) if d.is_ordered), None)
    by_block: dict[Point, list[Point]] = {}
    for point in points(dimensions, boxes):
        first = point
        if axis is not None:
            first = (*point[:axis], point[axis] // size * size, *point[axis + 1 :])
        by_block.setdefault(first, []).append(point)
    return by_block
