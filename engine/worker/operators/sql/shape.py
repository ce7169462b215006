"""Columns of an output: those of the job's SELECT, and added partition columns."""

from collections.abc import Iterator, Mapping
from dataclasses import dataclass

from psycopg import sql

from engine.errors import InvalidOutput
from engine.partitions import (
    Dimension,
    Intervals,
    KeySet,
    PartitionSet,
    PartitionSpace,
    RangeDimension,
    TimeDimension,
)
from engine.worker.operators.sql.column_conditions import instant, local_date


@dataclass(frozen=True, slots=True)
class Shape:
    """Columns with their types: ``selected`` by the SELECT, and ``added`` for the partition."""

    selected: Mapping[str, str]
    added: Mapping[str, str]

    @property
    def columns(self) -> dict[str, str]:
        """All columns, in the order of a new table."""
        return {**self.selected, **self.added}


def shape_of(selected: Mapping[str, str], space: PartitionSpace) -> Shape:
    """Add partition columns missing in the SELECT. Raises TaskFailed if one must be in it."""
    added = {
        column: _type_of(column, dimension)
        for column, dimension in partition_columns(space)
        if column not in selected
    }
    return Shape(selected, added)


def partition_columns(space: PartitionSpace) -> Iterator[tuple[str, Dimension]]:
    """Yield each dimension with its column."""
    return ((dimension.column or name, dimension) for name, dimension in space.dimensions)


def constants(shape: Shape, partitions: PartitionSet) -> dict[str, sql.Literal]:
    """Return the values of the added columns in one partition.

    Raises TaskFailed for several partitions, which only the SELECT can assign to rows.
    """
    (box,) = partitions.boxes
    return {
        column: sql.Literal(_value(column, dimension, members))
        for (column, dimension), members in zip(
            partition_columns(partitions.space), box, strict=True
        )
        if column in shape.added
    }


def _type_of(column: str, dimension: Dimension) -> str:
    if isinstance(dimension, TimeDimension):
        return "date" if dimension.calendar.is_daily else "timestamp with time zone"
    if isinstance(dimension, RangeDimension):
        if dimension.size > 1:
            raise InvalidOutput(
                f"the SELECT must give column {column!r}: a partition has {dimension.size} values, "
                "and only the SELECT determines the value of a row"
            )
        return "bigint"
    return "text"


def _value(column: str, dimension: Dimension, members: Intervals | KeySet) -> object:
    if not members.is_finite or members.count() != 1:
        raise InvalidOutput(
            f"the SELECT must give column {column!r}: this job computes several partitions at once"
        )
    if isinstance(members, KeySet):
        (key,) = members.keys
        return key
    ((ordinal, _),) = members.spans
    if isinstance(dimension, TimeDimension):
        if dimension.calendar.is_daily:
            return local_date(dimension, ordinal).date()
        return instant(dimension, ordinal)
    return ordinal
