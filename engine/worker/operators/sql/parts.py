"""Which partition each row of a table lies in: told apart in SQL, named here.

SQL gives for each dimension a text that says no more than the partition, or a little more: hours of
`timestamptz` come in quarters, for there are zones that are off by some.
"""

from collections.abc import Sequence
from datetime import datetime, timedelta
from typing import LiteralString
from zoneinfo import ZoneInfo

from psycopg import sql

from engine.errors import TaskFailed
from engine.partitions import (
    Dimension,
    Intervals,
    KeySet,
    PartitionSet,
    PartitionSpace,
    RangeDimension,
    TimeDimension,
)
from engine.partitions.key_dimension import check_key
from engine.worker.operators.sql.shape import partition_columns
from engine.worker.operators.sql.tables import Table


def part_of(space: PartitionSpace, table: Table, alias: LiteralString) -> sql.Composed:
    """The expression, a text[], by which rows of one partition are told from those of others."""
    texts = [
        _text(dimension, sql.Identifier(alias, column), table.type_of(column))
        for column, dimension in partition_columns(space)
    ]
    return sql.SQL("ARRAY[{}]").format(sql.SQL(", ").join(texts))


def key_of(space: PartitionSpace, part: Sequence[str | None]) -> str:
    """The key of the partition that a value of `part_of` means.

    Raises TaskFailed for rows without a value, InvalidPartition for one that cannot be a key.
    """
    pairs = zip(space.dimensions, part, strict=True)
    box = tuple(_member(name, dimension, text) for (name, dimension), text in pairs)
    (key,) = space.keys(PartitionSet.of(space, [box]))
    return key


def _text(dimension: Dimension, column: sql.Identifier, kind: str) -> sql.Composed:
    if isinstance(dimension, RangeDimension):
        return sql.SQL("floor({}::numeric / {})::text").format(column, dimension.size)
    if not isinstance(dimension, TimeDimension):
        return sql.SQL("{}::text").format(column)
    if not kind.endswith("with time zone"):
        return sql.SQL("date_trunc({}, {}::timestamp)::text").format(dimension.grain, column)
    if dimension.grain == "hour":
        return sql.SQL("date_bin('15 minutes', {}, '2000-01-01 00:00+00')::text").format(column)
    return sql.SQL("date_trunc({}, {}, {})::text").format(dimension.grain, column, dimension.zone)


def _member(name: str, dimension: Dimension, text: str | None) -> Intervals | KeySet:
    if text is None:
        raise TaskFailed(f"the SELECT gave rows without a value of {name!r}: leave them out")
    if isinstance(dimension, RangeDimension):
        return Intervals.single(int(text))
    if isinstance(dimension, TimeDimension):
        return dimension.overlapping(Intervals.single(_instant(dimension, text)))
    return KeySet.of(check_key(text, f"dimension {name!r}"))


def _instant(dimension: TimeDimension, text: str) -> int:
    """An instant within the window, in seconds since 1970-01-01T00:00Z."""
    moment = datetime.fromisoformat(text)
    if dimension.grain != "hour":
        moment += timedelta(hours=12)  # no clock change skips noon
    if moment.tzinfo is None:
        # of two like readings the later, as the conditions on such a column have it
        moment = moment.replace(tzinfo=ZoneInfo(dimension.zone), fold=1)
    return int(moment.timestamp())
