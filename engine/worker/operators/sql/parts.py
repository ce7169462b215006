"""Assignment of rows to partitions: SQL groups the rows, Python converts the groups to keys.

SQL computes a text per dimension that is at least as fine as the partition: windows that do not
start at midnight are split into quarter hours or less, because some zones have offsets of quarter
hours.
"""

from collections.abc import Sequence
from datetime import UTC, datetime, timedelta
from math import gcd
from typing import LiteralString

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
from engine.partitions.clock import clock
from engine.partitions.grains import GRAINS
from engine.partitions.key_dimension import check_key
from engine.worker.operators.sql.shape import partition_columns
from engine.worker.operators.sql.tables import Table

_QUARTER_HOUR = 15 * 60


def part_of(space: PartitionSpace, table: Table, alias: LiteralString) -> sql.Composed:
    """Return an expression of type text[] whose values distinguish partitions."""
    texts = [
        _text(dimension, sql.Identifier(alias, column), table.type_of(column))
        for column, dimension in partition_columns(space)
    ]
    return sql.SQL("ARRAY[{}]").format(sql.SQL(", ").join(texts))


def key_of(space: PartitionSpace, part: Sequence[str | None]) -> str:
    """Return the key of the partition denoted by a value of `part_of`.

    Raises TaskFailed for a null, InvalidPartition for a value that cannot be a key.
    """
    pairs = zip(space.dimensions, part, strict=True)
    box = tuple(_member(name, dimension, text) for (name, dimension), text in pairs)
    (key,) = space.keys(PartitionSet.of(space, [box]))
    return key


def _text(dimension: Dimension, column: sql.Composable, kind: str) -> sql.Composed:
    if isinstance(dimension, RangeDimension):
        return sql.SQL("floor({}::numeric / {})::text").format(column, dimension.size)
    if not isinstance(dimension, TimeDimension):
        return sql.SQL("{}::text").format(column)
    has_zone = kind.endswith("with time zone")
    if not has_zone:
        column = sql.SQL("{}::timestamp").format(column)
    if not dimension.calendar.is_daily:
        seconds = gcd(dimension.calendar.resolution, _QUARTER_HOUR)
        origin = sql.SQL("timestamptz '2000-01-01 00:00+00'" if has_zone else "'2000-01-01'")
        return sql.SQL("date_bin(make_interval(secs => {}), {}, {})::text").format(
            seconds, column, origin
        )
    unit = dimension.grain if dimension.starts_on is None and dimension.grain in GRAINS else "day"
    zone = sql.SQL(", {}").format(dimension.zone) if has_zone else sql.SQL("")
    return sql.SQL("date_trunc({}, {}{})::text").format(unit, column, zone)


def _member(name: str, dimension: Dimension, text: str | None) -> Intervals | KeySet:
    if text is None:
        raise InvalidOutput(f"the SELECT returned rows with a null {name!r}: exclude these rows")
    if isinstance(dimension, RangeDimension):
        return Intervals.single(int(text))
    if isinstance(dimension, TimeDimension):
        return dimension.overlapping(Intervals.single(_instant(dimension, text)))
    return KeySet.of(check_key(text, f"dimension {name!r}"))


def _instant(dimension: TimeDimension, text: str) -> int:
    """Return an instant within the window, in seconds since 1970-01-01T00:00Z."""
    moment = datetime.fromisoformat(text)
    if dimension.calendar.is_daily:
        moment += timedelta(hours=12)  # no clock change skips noon
    if moment.tzinfo is None:
        # The later of two equal local times, consistent with `column_conditions`.
        return clock(dimension.zone).latest(int(moment.replace(tzinfo=UTC).timestamp()))
    return int(moment.timestamp())
