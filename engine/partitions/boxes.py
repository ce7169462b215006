"""Products of dimension sets, and the canonical form of their unions.

A box contains the keys whose part in every dimension is in the box's set for the dimension. A box
without its first dimension is a tail. The canonical form splits a set along the first dimension
into the largest pieces with equal tails, and recursively the tails. The form is unique: equal sets
have equal boxes, and boxes that differ only in the last dimension are merged.
"""

from __future__ import annotations

from collections.abc import Callable, Iterable, Iterator, Sequence
from operator import and_, or_
from typing import Any

from engine.partitions.limits import check_pieces

Box = tuple[Any, ...]
"""One non-empty `DimensionSet` per dimension."""

Operator = Callable[[Any, Any], Any]
"""`or_`, `and_` or `sub`, applied to the sets of two unions in the same dimension."""


def canonical(boxes: Iterable[Box]) -> tuple[Box, ...]:
    """Return the canonical boxes of a union of boxes, which may overlap or be empty."""
    return combined(or_, [box for box in boxes if all(box)], ())


def combined(operator: Operator, left: Sequence[Box], right: Sequence[Box]) -> tuple[Box, ...]:
    """Apply an operator to two unions of boxes, which may overlap; return canonical boxes."""
    if not right and (len(left) < 2 or operator is and_):
        return () if operator is and_ else tuple(left)
    width = len(right[0] if right else left[0])
    if width == 0:
        # `sub` of two booleans is -1 if only the right side is non-empty.
        return ((),) if operator(bool(left), bool(right)) > 0 else ()
    if width == 1:
        result = operator(_union(left, right), _union(right, left))
        return ((result,),) if result else ()
    return tuple(_levels(operator, left, right))


def _levels(operator: Operator, left: Sequence[Box], right: Sequence[Box]) -> Iterator[Box]:
    """Split along the first dimension, combine the tails of each piece, and merge equal tails."""
    lefts, rights = tails(left), tails(right)
    firsts = list({**lefts, **rights})
    levels: dict[frozenset[Box], tuple[tuple[Box, ...], list[Any]]] = {}
    pieces = 0
    for piece, owners in type(firsts[0]).atoms(firsts):
        sets = [firsts[i] for i in owners]
        tail = combined(operator, _tails_of(sets, lefts), _tails_of(sets, rights))
        pieces += len(sets) + len(tail)
        check_pieces(pieces)
        levels.setdefault(frozenset(tail), (tail, []))[1].append(piece)
    for tail, equals in levels.values():
        first = type(equals[0]).union(equals)
        yield from ((first, *rest) for rest in tail)


def tails(boxes: Iterable[Box]) -> dict[Any, list[Box]]:
    """Group the tails of boxes by the set of the first dimension."""
    by_first: dict[Any, list[Box]] = {}
    for box in boxes:
        by_first.setdefault(box[0], []).append(box[1:])
    return by_first


def _tails_of(firsts: Iterable[Any], by_first: dict[Any, list[Box]]) -> list[Box]:
    return [tail for first in firsts for tail in by_first.get(first, ())]


def _union(boxes: Sequence[Box], others: Sequence[Box]) -> Any:
    """Return the union of one-dimensional boxes; without boxes, an empty set like the others."""
    kind = type((boxes or others)[0][0])
    return kind.union([box[0] for box in boxes]) if boxes else kind()
