"""Partition keys and ranges as text: plain for one dimension, Hive style for several."""

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
"""Dimensions of a space with their names, in order."""


def split(dimensions: Named, text: str) -> dict[int, str]:
    """Split a text into parts by index of the dimension.

    Raises:
        InvalidPartition: the text has an unknown dimension, or one dimension twice.
    """
    parts: dict[int, str] = {}
    # The key of an only dimension is one part, so that a message quotes all of it.
    for piece in text.split(AND) if len(dimensions) > 1 else (text,):
        i, part = _split_part(dimensions, piece)
        if i in parts:
            raise _repeated(dimensions, i)
        parts[i] = part
    return parts


def read_box(dimensions: Named, text: str) -> Box:
    """Parse a text to a box; raises InvalidPartition."""
    parts = split(dimensions, text).items() if text != EVERYTHING else ()
    return _box(dimensions, {i: _parse(dimensions[i], part) for i, part in parts})


def read_boxes(dimensions: Named, texts: Iterable[str]) -> Iterator[Box]:
    """Parse many texts other than `*`; texts that differ only in the last part share a box."""
    lasts: dict[str, list[str]] = {}
    for text in texts:
        head, _, last = text.rpartition(AND) if len(dimensions) > 1 else ("", "", text)
        lasts.setdefault(head, []).append(last)

    @cache  # parts of a product recur
    def read(piece: str) -> tuple[int, DimensionSet]:
        i, part = _split_part(dimensions, piece)
        return i, _parse(dimensions[i], part)

    for head, pieces in lasts.items():
        parts = split(dimensions, head) if head else {}
        fixed = {i: _parse(dimensions[i], part) for i, part in parts.items()}
        yield from _joined(dimensions, fixed, map(read, pieces))


def _joined(
    dimensions: Named, fixed: dict[int, DimensionSet], parts: Iterable[tuple[int, DimensionSet]]
) -> Iterator[Box]:
    sets: dict[int, list[DimensionSet]] = {}
    for i, part in parts:
        sets.setdefault(i, []).append(part)
    for i, of_dimension in sets.items():
        if i in fixed:
            raise _repeated(dimensions, i)
        yield _box(dimensions, {**fixed, i: of_dimension[0].union(of_dimension)})


def _box(dimensions: Named, parts: dict[int, DimensionSet]) -> Box:
    return tuple(parts.get(i, d.universe) for i, (_, d) in enumerate(dimensions))


def write_boxes(dimensions: Named, boxes: Iterable[Box]) -> Iterator[str]:
    """Yield texts of disjoint boxes, in order."""

    def sort_key(box: Box) -> list[Any]:
        return [d.sort_key(part) for (_, d), part in zip(dimensions, box, strict=True)]

    for box in sorted(boxes, key=sort_key):
        for parts in product(*_part_texts(dimensions, box)):
            yield AND.join(filter(None, parts)) or EVERYTHING


def text_count(dimensions: Named, boxes: Iterable[Box]) -> int:
    """Return an upper bound for the number of texts from `write_boxes`."""
    return sum(
        prod(
            1 if part == dimension.universe else dimension.text_count(part)
            for (_, dimension), part in zip(dimensions, box, strict=True)
        )
        for box in boxes
    )


def key_writer(dimensions: Named) -> Callable[[Point], str]:
    """Return a function from points to keys, which formats each position once."""
    if not dimensions:
        return lambda _: EVERYTHING
    if len(dimensions) == 1:
        only = dimensions[0][1]
        return lambda point: only.format(point[0])
    write = [cache(_part_writer(name, dimension)) for name, dimension in dimensions]
    return lambda point: AND.join([part(p) for part, p in zip(write, point, strict=True)])


def _part_writer(name: str, dimension: Dimension) -> Callable[[Any], str]:
    return lambda position: name + IS + dimension.format(position)


def _part_texts(dimensions: Named, box: Box) -> Iterator[Sequence[str]]:
    for (name, dimension), part in zip(dimensions, box, strict=True):
        prefix = name + IS if len(dimensions) > 1 else ""
        is_complete = part == dimension.universe
        yield [""] if is_complete else [prefix + text for text in dimension.texts(part)]


def _split_part(dimensions: Named, piece: str) -> tuple[int, str]:
    name, named, part = piece.rpartition(IS)
    if not named and len(dimensions) == 1:
        return 0, part
    for i, (candidate, _) in enumerate(dimensions):
        if named and candidate == name:
            return i, part
    example = AND.join(f"{candidate}{IS}..." for candidate, _ in dimensions) or EVERYTHING
    raise InvalidPartition(f"{piece!r} names no dimension of the dataset; write {example}")


def _parse(named: tuple[str, Dimension], part: str) -> DimensionSet:
    name, dimension = named
    return dimension.parse(part, where(name))


def where(name: str) -> str:
    """Return the designation of a dimension in messages."""
    return f"dimension {name!r}"


def _repeated(dimensions: Named, i: int) -> InvalidPartition:
    name = dimensions[i][0]
    return InvalidPartition(f"{where(name)} occurs twice in one key; specify it once")
