"""Partition pruning: conditions on partition columns exclude partitions.

Every step is sound: a partition is excluded only if none of its rows can meet the conditions. Text
without an offset is wall time in the dimension's zone.
"""

from __future__ import annotations

from collections.abc import Callable, Collection, Iterable
from datetime import date, datetime, timedelta
from functools import partial
from math import ceil, floor
from zoneinfo import ZoneInfo

from engine.lineage.rows import Condition, RowFilter, Scalar
from engine.partitions import PartitionSet, PartitionSpace
from engine.partitions.dimension import Dimension
from engine.partitions.dimension_set import DimensionSet
from engine.partitions.intervals import NEG, POS, Intervals, Span
from engine.partitions.key_dimension import StaticDimension
from engine.partitions.keyset import KeySet
from engine.partitions.range_dimension import RangeDimension
from engine.partitions.time_dimension import TimeDimension

Reach = tuple[int, int, int]
"""The interval of a value on an axis: (lo, start, hi), with ``start`` its latest start.

The value starts between lo and start and ends before hi.
"""


def narrow(rows: RowFilter, space: PartitionSpace, partitions: PartitionSet) -> PartitionSet:
    """Return the partitions that can contain a row matching the filter."""
    box = tuple(_allowed(rows.conditions, name, dimension) for name, dimension in space.dimensions)
    return partitions & PartitionSet.of(space, [box])


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


def _allowed(conditions: Iterable[Condition], name: str, dimension: Dimension) -> DimensionSet:
    allowed = dimension.universe
    for condition in conditions:
        if condition.column == (dimension.column or name):
            members = _members(condition, dimension)
            allowed = allowed if members is None else allowed & members
    return allowed


def _members(condition: Condition, dimension: Dimension) -> DimensionSet | None:
    """Return the keys that can meet the condition; None if it does not restrict keys."""
    if isinstance(dimension, TimeDimension):
        instants = _spans(condition, partial(_instants, zone=ZoneInfo(dimension.zone)))
        return None if instants is None else dimension.overlapping(instants)
    if isinstance(dimension, RangeDimension):
        integers = _spans(condition, _integers)
        return None if integers is None else dimension.overlapping(integers)
    return _keys(condition, dimension)


def _values(condition: Condition) -> tuple[Scalar, ...]:
    return condition.value if isinstance(condition.value, tuple) else (condition.value,)


def _keys(condition: Condition, dimension: Dimension) -> KeySet | None:
    values = _values(condition)
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
    reaches = [reach(value) for value in _values(condition)]
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


def _instants(value: Scalar, zone: ZoneInfo) -> Reach | None:
    """Return the reach in seconds since 1970-01-01T00:00Z; a date covers the whole day."""
    if not isinstance(value, str):
        return None
    try:
        start = datetime.fromisoformat(value)
        end = start + (timedelta(days=1) if _is_date(value) else timedelta.resolution)
        starts, ends = _readings(start, zone), _readings(end, zone)
    except (ValueError, OverflowError):
        return None
    return floor(min(starts)), ceil(max(starts)), ceil(max(ends))


def _is_date(value: str) -> bool:
    try:
        date.fromisoformat(value)
    except ValueError:
        return False
    return True


def _readings(moment: datetime, zone: ZoneInfo) -> tuple[float, ...]:
    """Return the timestamps of a local time: two if the zone's clock is set back over it."""
    if moment.tzinfo:
        return (moment.timestamp(),)
    return tuple(moment.replace(tzinfo=zone, fold=fold).timestamp() for fold in (0, 1))
