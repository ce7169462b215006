"""Products of dimension sets, and their one canonical form.

A box holds the keys whose part in every dimension lies in the box's set there. A set of keys is
cut along its first dimension into the largest pieces over which the rest is the same, and so on
inwards. That form is unique, so equal sets have equal boxes, and boxes that differ in one dimension
only have been merged.
"""

from __future__ import annotations

from collections.abc import Iterable, Iterator, Sequence
from operator import and_
from typing import Any

Box = tuple[Any, ...]
"""One non-empty `DimensionSet` per dimension."""


def canonical(boxes: Iterable[Box]) -> tuple[Box, ...]:
    """The canonical boxes of a union of boxes, which may overlap or be empty."""
    full = [box for box in boxes if all(box)]
    if len(full) < 2:
        return tuple(full)
    width = len(full[0])
    if width == 0:
        return ((),)
    if width == 1:
        return ((_union([box[0] for box in full]),),)
    return tuple(_levels(full))


def intersection(left: Iterable[Box], right: Sequence[Box]) -> Iterator[Box]:
    """The boxes of what two unions share; disjoint when both are."""
    return (tuple(map(and_, a, b)) for a in left for b in right)


def difference(left: Iterable[Box], right: Iterable[Box]) -> list[Box]:
    """The boxes of `left` without `right`; disjoint when `left` is."""
    rest = list(left)
    for box in right:
        rest = [piece for whole in rest for piece in _without(whole, box)]
    return rest


def _levels(boxes: Sequence[Box]) -> Iterator[Box]:
    tails: dict[Any, list[Box]] = {}
    for box in boxes:
        tails.setdefault(box[0], []).append(box[1:])
    firsts = list(tails)
    levels: dict[frozenset[Box], tuple[tuple[Box, ...], list[Any]]] = {}
    for piece, owners in type(firsts[0]).atoms(firsts):
        tail = canonical([rest for i in owners for rest in tails[firsts[i]]])
        levels.setdefault(frozenset(tail), (tail, []))[1].append(piece)
    for tail, pieces in levels.values():
        first = _union(pieces)
        yield from ((first, *rest) for rest in tail)


def _without(whole: Box, box: Box) -> Iterator[Box]:
    shared = tuple(map(and_, whole, box))
    if not all(shared):
        yield whole
        return
    for i, (mine, theirs) in enumerate(zip(whole, box, strict=True)):
        left = mine - theirs
        if left:
            yield (*shared[:i], left, *whole[i + 1 :])


def _union(sets: Sequence[Any]) -> Any:
    return type(sets[0]).union(sets)
