"""From rows to partitions: a condition on a partition column leaves only some partitions.

Every step is sound: a partition goes only when none of its rows can meet the conditions. Text
without an offset is wall time in the dimension's zone.
"""

from __future__ import annotations

from collections.abc import Callable, Iterable
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
"""Where a value may lie on an axis: from lo, starting no later than start, and before hi."""


def narrow(rows: RowFilter, space: PartitionSpace, partitions: PartitionSet) -> PartitionSet:
    """The partitions that can hold a row which meets the filter."""
    box = tuple(_allowed(rows.conditions, name, each) for name, each in space.dimensions)
    return partitions & PartitionSet.of(space, [box])


def _allowed(conditions: Iterable[Condition], name: str, dimension: Dimension) -> DimensionSet:
    allowed = dimension.universe
    for condition in conditions:
        if condition.column in (dimension.column, name):
            found = _members(condition, dimension)
            allowed = allowed if found is None else allowed & found
    return allowed


def _members(condition: Condition, dimension: Dimension) -> DimensionSet | None:
    """The keys that the condition leaves; None where it says nothing about keys."""
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
    """Whether the value's text is certain: 7 may stand under the key 07, "7" may not."""
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
    return Intervals.of(_span(condition.operator, each) for each in reaches if each)


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
    """In seconds since 1970-01-01T00:00Z; a date may mean any moment of it."""
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
    """The instants at which the zone's clock may read so: two where it is set back."""
    if moment.tzinfo:
        return (moment.timestamp(),)
    return tuple(moment.replace(tzinfo=zone, fold=fold).timestamp() for fold in (0, 1))
