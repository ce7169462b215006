"""Sets of partitions as conditions on the columns of a table."""

from collections.abc import Sequence
from itertools import pairwise
from operator import itemgetter

from psycopg import sql

from engine.partitions import Dimension, PartitionSet
from engine.partitions.boxes import Box, canonical, tails
from engine.worker.operators.sql.column_conditions import (
    Bounds,
    all_of,
    any_of,
    between,
    bounds_of,
    conditions_of,
)
from engine.worker.operators.sql.tables import Table

_MAX_ALTERNATIVES = 16
"""Limit of boxes compared one after the other with a row."""
_CASE = sql.SQL("CASE WHEN {} < {} THEN {} ELSE {} END")

_Named = Sequence[tuple[str, Dimension]]
_Slice = tuple[Bounds, sql.Composable]
"""Bounds of a column, with the condition for the other columns in between."""


def within(partitions: PartitionSet, table: Table) -> sql.Composable:
    """Return the condition that a row of ``table`` belongs to one of the partitions.

    Raises TaskFailed or InvalidInput if a column is missing or has an unsuitable type.
    """
    return _in_a_box(partitions.space.dimensions, partitions.boxes, table)


def _in_a_box(dimensions: _Named, boxes: Sequence[Box], table: Table) -> sql.Composable:
    axis = next((i for i, (_, d) in enumerate(dimensions) if d.is_ordered), None)
    if len(boxes) > _MAX_ALTERNATIVES and axis is not None:
        slices = _slices(dimensions, axis, boxes, table)
        if _are_ascending(slices):
            where = sql.Identifier(_column(dimensions[axis]))
            ends = slices[0][0][0], slices[-1][0][1]
            # The ends are for indexes, which do not support CASE.
            return all_of([*between(where, ends), _search(where, slices)])
    return any_of(
        all_of(
            condition
            for named, members in zip(dimensions, box, strict=True)
            for condition in conditions_of(_column(named), named[1], members, table)
        )
        for box in boxes
    )


def _column(named: tuple[str, Dimension]) -> str:
    name, dimension = named
    return dimension.column or name


def _slices(dimensions: _Named, axis: int, boxes: Sequence[Box], table: Table) -> list[_Slice]:
    """Split a set along an ordered dimension, in ascending order."""
    others = [*dimensions[:axis], *dimensions[axis + 1 :]]
    dimension, kind = dimensions[axis][1], table.type_of(_column(dimensions[axis]))
    moved = canonical((box[axis], *box[:axis], *box[axis + 1 :]) for box in boxes)
    conditions = [(first, _in_a_box(others, rest, table)) for first, rest in tails(moved).items()]
    spans = [(span, condition) for first, condition in conditions for span in first.spans]
    spans.sort(key=itemgetter(0))
    return [(bounds_of(dimension, span, kind), condition) for span, condition in spans]


def _are_ascending(slices: Sequence[_Slice]) -> bool:
    """Return False for times without zone in an order changed by a clock going back."""
    ends = [end for bounds, _ in slices for end in bounds if end is not None]
    return all(one <= other for one, other in pairwise(ends))


def _search(where: sql.Identifier, slices: Sequence[_Slice]) -> sql.Composable:
    """Find the slice of a row by bisection."""
    if len(slices) == 1:
        ((bounds, condition),) = slices
        return all_of([*between(where, bounds), condition])
    middle = len(slices) // 2
    start = slices[middle][0][0]
    halves = _search(where, slices[:middle]), _search(where, slices[middle:])
    return _CASE.format(where, start, *halves)
