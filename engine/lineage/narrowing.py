"""Partition pruning: conditions on partition columns exclude partitions.

Every step is sound: a partition is excluded only if none of its rows can meet the conditions. Text
without an offset is wall time in the zone of the column's time dimension, and in UTC if the column
has none.
"""

from __future__ import annotations

from collections.abc import Callable, Collection, Iterable, Mapping
from functools import partial
from math import ceil, floor

from engine.lineage.graph import Edge
from engine.lineage.rows import Condition, RowFilter, Scalar
from engine.lineage.wall_time import Reach, instants, is_of_times
from engine.partitions import PartitionSet, PartitionSpace
from engine.partitions.dimension import Dimension
from engine.partitions.dimension_set import DimensionSet
from engine.partitions.intervals import NEG, POS, Intervals, Span
from engine.partitions.key_dimension import StaticDimension
from engine.partitions.keyset import KeySet
from engine.partitions.range_dimension import RangeDimension
from engine.partitions.time_dimension import TimeDimension

Zones = Mapping[str, Collection[str]]
"""By column, the zones of the time dimensions of the dataset with the filtered rows."""

_NO_DIMENSION = ("UTC",)
"""Zone of a column without a time dimension."""


def narrow(
    rows: RowFilter, space: PartitionSpace, partitions: PartitionSet, zones: Zones | None = None
) -> PartitionSet:
    """Return the partitions that can contain a row matching the filter.

    ``zones`` None: the filter is of a dataset with these partitions.
    """
    if zones is None:
        zones = {
            condition.column: zones_of(space, condition.column) for condition in rows.conditions
        }
    box = tuple(
        _allowed(rows.conditions, dimension.column or name, dimension, zones)
        for name, dimension in space.dimensions
    )
    return partitions & PartitionSet.of(space, [box])


def pass_on(
    rows: RowFilter, edge: Edge, touched: PartitionSet
) -> tuple[PartitionSet, RowFilter | None]:
    """Return the touched partitions that can contain a matching row, and the output's filter.

    ``touched`` are partitions of the edge's job. A condition on a time in a column with another
    zone in the output narrows the partitions, but is not a condition of the output, where the same
    text would mean another time.
    """
    preserved = edge.input.preserved_columns
    passed = rows.propagate(preserved)
    if passed is None:
        return touched, None
    zones = {
        output: zones_of(edge.mapping.source, condition.column)
        for condition in rows.conditions
        for output in preserved.get(condition.column, ())
    }
    kept = tuple(
        condition
        for condition in passed.conditions
        if _is_same(zones[condition.column], zones_of(touched.space, condition.column))
        or not is_of_times(condition)
    )
    return narrow(passed, touched.space, touched, zones), RowFilter(kept) if kept else None


def certain(
    rows: RowFilter,
    space: PartitionSpace,
    columns: Collection[str] | None,
    changed: frozenset[str] | None = None,
) -> RowFilter:
    """Return the conditions that hold for the rows both before and after a change.

    The name of a dimension stands for the dimension's column, unless the table has or may have a
    column of that name. A condition on a ``changed`` column is dropped because it holds for only
    one of the two values. Conditions on one column under two names are dropped as well, and so are
    conditions on uncertain columns. ``columns`` None: the columns of the table are unknown.
    ``changed`` None: the changed columns are unknown, and no condition is dropped for them.
    """
    named = {
        condition.column: _column(condition.column, space, columns) for condition in rows.conditions
    }
    meanings = [column for column in named.values() if column is not None]
    dirty = {_column(name, space, columns) or name for name in changed or ()} | (changed or set())
    kept = [
        Condition(column, condition.operator, condition.value)
        for condition in rows.conditions
        if (column := named[condition.column]) is not None
        and meanings.count(column) == 1
        and not {column, condition.column} & dirty
    ]
    return RowFilter(
        tuple(sorted(kept, key=lambda condition: (condition.column, condition.operator)))
    )


def named_by(rows: RowFilter, space: PartitionSpace) -> PartitionSet | None:
    """Return the partitions named by conditions on partition columns, or None.

    Each dimension must be restricted to a finite set of keys or not at all, and at least one must
    be restricted.
    """
    (box,) = narrow(rows, space, space.universe).boxes or (None,)
    universe = [dimension.universe for _, dimension in space.dimensions]
    if box is None or list(box) == universe:
        return None
    bounds = zip(box, universe, strict=True)
    is_named = all(members == every or members.is_finite for members, every in bounds)
    return PartitionSet.of(space, [box]) if is_named else None


def _column(name: str, space: PartitionSpace, columns: Collection[str] | None) -> str | None:
    """Return the column meant by the name in a condition; None if uncertain."""
    stored = {dimension.column or key for key, dimension in space.dimensions}
    column = dict(space.dimensions)[name].column if name in space.names else None
    if name in stored or column is None or (columns is not None and name in columns):
        return name
    return None if columns is None else column


def zones_of(space: PartitionSpace, column: str) -> frozenset[str]:
    """Return the zones of the time dimensions stored in a column."""
    return frozenset(
        dimension.zone
        for name, dimension in space.dimensions
        if isinstance(dimension, TimeDimension) and column == (dimension.column or name)
    )


def _is_same(zones: Collection[str], others: Collection[str]) -> bool:
    return {*(zones or _NO_DIMENSION)} == {*(others or _NO_DIMENSION)}


def _allowed(
    conditions: Iterable[Condition], column: str, dimension: Dimension, zones: Zones
) -> DimensionSet:
    allowed = dimension.universe
    for condition in conditions:
        if condition.column == column:
            members = _members(condition, dimension, zones[column])
            allowed = allowed if members is None else allowed & members
    return allowed


def _members(
    condition: Condition, dimension: Dimension, zones: Collection[str]
) -> DimensionSet | None:
    """Return the keys that can meet the condition; None if it does not restrict keys."""
    if isinstance(dimension, TimeDimension):
        reach = partial(instants, zones=zones or _NO_DIMENSION, zone=dimension.zone)
        times = _spans(condition, reach)
        return None if times is None else dimension.overlapping(times)
    if isinstance(dimension, RangeDimension):
        integers = _spans(condition, _integers)
        return None if integers is None else dimension.overlapping(integers)
    if zones and is_of_times(condition):
        return None  # the keys are texts, and a time has many
    return _keys(condition, dimension)


def _keys(condition: Condition, dimension: Dimension) -> KeySet | None:
    values = condition.values
    if condition.operator not in ("eq", "in") or not all(_is_key(v, dimension) for v in values):
        return None
    return KeySet(frozenset(map(str, values)))


def _is_key(value: Scalar, dimension: Dimension) -> bool:
    """Return whether the key of a value is certain: 7 may be stored under 07, "7" may not."""
    if isinstance(value, str):
        return True
    return (
        isinstance(value, int)
        and isinstance(dimension, StaticDimension)
        and str(value) in dimension.universe
    )


def _spans(condition: Condition, reach: Callable[[Scalar], Reach | None]) -> Intervals | None:
    reaches = [reach(value) for value in condition.values]
    if not all(reaches):
        return None
    return Intervals.of(_span(condition.operator, interval) for interval in reaches if interval)


def _span(operator: str, reach: Reach) -> Span:
    lo, start, hi = reach
    if operator in ("gt", "gte"):
        return lo, POS
    if operator == "lt":
        return NEG, start
    return (NEG, hi) if operator == "lte" else (lo, hi)


def _integers(value: Scalar) -> Reach | None:
    if isinstance(value, bool | str):
        return None
    return max(NEG, floor(value)), min(POS, ceil(value)), min(POS, floor(value) + 1)
