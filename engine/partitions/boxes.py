"""Products of dimension sets, and their one canonical form.

A box holds the keys whose part in every dimension lies in the box's set there; what a box holds
beyond its first dimension is its tail. In the canonical form a set is cut along its first dimension
into the largest pieces over which the tails are the same, and so on inwards. That form is unique:
equal sets have equal boxes, and boxes that differ in their last dimension only have been merged.
"""

from __future__ import annotations

from collections.abc import Callable, Iterable, Iterator, Sequence
from operator import and_, or_
from typing import Any

from engine.partitions.limits import check_pieces

Box = tuple[Any, ...]
"""One non-empty `DimensionSet` per dimension."""

Operator = Callable[[Any, Any], Any]
"""`or_`, `and_` or `sub`: what to do with the sets that two unions have in one place."""


def canonical(boxes: Iterable[Box]) -> tuple[Box, ...]:
    """The canonical boxes of a union of boxes, which may overlap or be empty."""
    return combined(or_, [box for box in boxes if all(box)], ())


def combined(operator: Operator, left: Sequence[Box], right: Sequence[Box]) -> tuple[Box, ...]:
    """The canonical boxes of an operator between two unions of boxes, which may overlap."""
    if not right and (len(left) < 2 or operator is and_):
        return () if operator is and_ else tuple(left)
    width = len(right[0] if right else left[0])
    if width == 0:
        # Of the keys in the right only, sub makes -1.
        return ((),) if operator(bool(left), bool(right)) > 0 else ()
    if width == 1:
        whole = operator(_union(left, right), _union(right, left))
        return ((whole,),) if whole else ()
    return tuple(_levels(operator, left, right))


def _levels(operator: Operator, left: Sequence[Box], right: Sequence[Box]) -> Iterator[Box]:
    """Cut both along the first dimension, combine the tails over each piece, merge where equal."""
    lefts, rights = tails(left), tails(right)
    firsts = list({**lefts, **rights})
    levels: dict[frozenset[Box], tuple[tuple[Box, ...], list[Any]]] = {}
    pieces = 0
    for piece, owners in type(firsts[0]).atoms(firsts):
        held = [firsts[i] for i in owners]
        tail = combined(operator, _under(held, lefts), _under(held, rights))
        pieces += len(held) + len(tail)
        check_pieces(pieces)
        levels.setdefault(frozenset(tail), (tail, []))[1].append(piece)
    for tail, alike in levels.values():
        first = type(alike[0]).union(alike)
        yield from ((first, *rest) for rest in tail)


def tails(boxes: Iterable[Box]) -> dict[Any, list[Box]]:
    """By set of the first dimension, the rest of the boxes that have it."""
    found: dict[Any, list[Box]] = {}
    for box in boxes:
        found.setdefault(box[0], []).append(box[1:])
    return found


def _under(firsts: Iterable[Any], found: dict[Any, list[Box]]) -> list[Box]:
    return [tail for first in firsts for tail in found.get(first, ())]


def _union(boxes: Sequence[Box], others: Sequence[Box]) -> Any:
    """The union along the only dimension; of no boxes, the empty set of the others' kind."""
    kind = type((boxes or others)[0][0])
    return kind.union([box[0] for box in boxes]) if boxes else kind()
