"""Partition keys and ranges as text: Hive style, and plain where there is one dimension."""

from __future__ import annotations

from collections.abc import Callable, Iterable, Iterator, Sequence
from functools import cache
from itertools import product
from math import prod
from typing import Any

from engine.errors import InvalidPartition
from engine.partitions.boxes import Box
from engine.partitions.dimension import EVERYTHING, Dimension
from engine.partitions.dimension_set import DimensionSet
from engine.partitions.listing import Point

AND = "/"
IS = "="

Named = tuple[tuple[str, Dimension], ...]
"""The dimensions of a space with their names, in order."""


def split(dimensions: Named, text: str) -> dict[int, str]:
    """The parts of a text by the index of their dimension.

    Raises:
        InvalidPartition: a part names no dimension, or one twice.
    """
    parts: dict[int, str] = {}
    for piece in text.split(AND):
        i, part = _split_part(dimensions, piece)
        if i in parts:
            raise _given_twice(dimensions, i)
        parts[i] = part
    return parts


def read_box(dimensions: Named, text: str) -> Box:
    """The box that a text names; raises InvalidPartition."""
    parts = split(dimensions, text).items() if text != EVERYTHING else ()
    return _box(dimensions, {i: _parse(dimensions[i], part) for i, part in parts})


def read_boxes(dimensions: Named, texts: Iterable[str]) -> Iterator[Box]:
    """The boxes of many texts but `*`; those that differ in their last part only share one."""
    lasts: dict[str, list[str]] = {}
    for text in texts:
        head, _, last = text.rpartition(AND)
        lasts.setdefault(head, []).append(last)

    @cache  # most parts of a product come many times
    def read(piece: str) -> tuple[int, DimensionSet]:
        i, part = _split_part(dimensions, piece)
        return i, _parse(dimensions[i], part)

    for head, pieces in lasts.items():
        given = split(dimensions, head) if head else {}
        fixed = {i: _parse(dimensions[i], part) for i, part in given.items()}
        yield from _joined(dimensions, fixed, map(read, pieces))


def _joined(
    dimensions: Named, fixed: dict[int, DimensionSet], parts: Iterable[tuple[int, DimensionSet]]
) -> Iterator[Box]:
    sets: dict[int, list[DimensionSet]] = {}
    for i, part in parts:
        sets.setdefault(i, []).append(part)
    for i, alike in sets.items():
        if i in fixed:
            raise _given_twice(dimensions, i)
        yield _box(dimensions, {**fixed, i: alike[0].union(alike)})


def _box(dimensions: Named, parts: dict[int, DimensionSet]) -> Box:
    return tuple(parts.get(i, d.universe) for i, (_, d) in enumerate(dimensions))


def write_boxes(dimensions: Named, boxes: Iterable[Box]) -> Iterator[str]:
    """Texts that read back to the boxes, which are disjoint, in order."""

    def sort_key(box: Box) -> list[Any]:
        return [d.sort_key(part) for (_, d), part in zip(dimensions, box, strict=True)]

    for box in sorted(boxes, key=sort_key):
        for parts in product(*_part_texts(dimensions, box)):
            yield AND.join(filter(None, parts)) or EVERYTHING


def text_count(dimensions: Named, boxes: Iterable[Box]) -> int:
    """The most texts that `write_boxes` gives for these boxes, without writing any."""
    return sum(
        prod(
            1 if part == each.universe else each.text_count(part)
            for (_, each), part in zip(dimensions, box, strict=True)
        )
        for box in boxes
    )


def key_writer(dimensions: Named) -> Callable[[Point], str]:
    """From positions to their key; each position of a product is formatted once."""
    if not dimensions:
        return lambda _: EVERYTHING
    if len(dimensions) == 1:
        only = dimensions[0][1]
        return lambda point: only.format(point[0])
    write = [cache(_part_writer(name, dimension)) for name, dimension in dimensions]
    return lambda point: AND.join([part(at) for part, at in zip(write, point, strict=True)])


def _part_writer(name: str, dimension: Dimension) -> Callable[[Any], str]:
    return lambda position: name + IS + dimension.format(position)


def _part_texts(dimensions: Named, box: Box) -> Iterator[Sequence[str]]:
    for (name, dimension), part in zip(dimensions, box, strict=True):
        prefix = name + IS if len(dimensions) > 1 else ""
        whole = part == dimension.universe
        yield [""] if whole else [prefix + text for text in dimension.texts(part)]


def _split_part(dimensions: Named, piece: str) -> tuple[int, str]:
    name, named, part = piece.rpartition(IS)
    if not named and len(dimensions) == 1:
        return 0, part
    for i, (each, _) in enumerate(dimensions):
        if named and each == name:
            return i, part
    example = AND.join(f"{each}{IS}..." for each, _ in dimensions) or EVERYTHING
    raise InvalidPartition(f"{piece!r} names no dimension of the dataset; write {example}")


def _parse(named: tuple[str, Dimension], part: str) -> DimensionSet:
    name, dimension = named
    return dimension.parse(part, where(name))


def where(name: str) -> str:
    """How messages name a dimension."""
    return f"dimension {name!r}"


def _given_twice(dimensions: Named, i: int) -> InvalidPartition:
    name = dimensions[i][0]
    return InvalidPartition(f"{where(name)} is given twice in one key; give it once")
