"""Sets of partitions as conditions on the columns of a table."""

from collections.abc import Iterable, Iterator
from datetime import UTC, datetime, time
from typing import cast
from zoneinfo import ZoneInfo

from psycopg import sql

from engine.errors import InvalidInput
from engine.partitions import (
    Dimension,
    Intervals,
    KeySet,
    PartitionSet,
    RangeDimension,
    TimeDimension,
)
from engine.partitions.intervals import NEG, POS, Span
from engine.worker.operators.sql.tables import Table

TRUE = sql.SQL("TRUE")
FALSE = sql.SQL("FALSE")


def within(partitions: PartitionSet, table: Table) -> sql.Composable:
    """Return the condition that a row of ``table`` belongs to one of the partitions.

    Raises TaskFailed or InvalidInput if a column is missing or has an unsuitable type.
    """
    return any_of(
        all_of(
            condition
            for (name, dimension), members in zip(partitions.space.dimensions, box, strict=True)
            for condition in _conditions(dimension.column or name, dimension, members, table)
        )
        for box in partitions.boxes
    )


def all_of(conditions: Iterable[sql.Composable]) -> sql.Composable:
    """Return the conjunction of conditions; TRUE if there are none."""
    listed = list(conditions)
    return sql.SQL(" AND ").join(listed) if listed else TRUE


def any_of(conditions: Iterable[sql.Composable]) -> sql.Composable:
    """Return the disjunction of conditions; FALSE if there are none."""
    listed = list(conditions)
    if len(listed) == 1:
        return listed[0]
    bracketed = [sql.SQL("({})").format(condition) for condition in listed]
    return sql.SQL("({})").format(sql.SQL(" OR ").join(bracketed)) if listed else FALSE


def local_date(dimension: TimeDimension, ordinal: int) -> datetime:
    """Return the local midnight of the day on which a window starts."""
    # If a clock change skips midnight, the window starts later on the same day.
    return datetime.combine(_local(dimension, ordinal), time.min)


def instant(dimension: TimeDimension, ordinal: int) -> datetime:
    """Return the start of a window in UTC."""
    return datetime.fromtimestamp(_start(dimension, ordinal), UTC)


def first_value(dimension: Dimension, ordinal: int) -> int:
    """Return the first integer of a range's bucket."""
    ((first, _),) = cast("RangeDimension", dimension).windows(Intervals.single(ordinal)).spans
    return first


def _conditions(
    column: str, dimension: Dimension, members: Intervals | KeySet, table: Table
) -> Iterator[sql.Composable]:
    """Yield at most one condition, and none if every value is a member."""
    where = sql.Identifier(column)
    if isinstance(members, KeySet):
        yield from _listed(where, members)
    elif members.spans != ((NEG, POS),):
        kind = table.type_of(column)
        yield any_of(_between(where, dimension, span, kind) for span in members.spans)


def _listed(where: sql.Identifier, members: KeySet) -> Iterator[sql.Composable]:
    """Compare with untyped literals, which take the type of the column."""
    keys = sql.SQL(", ").join(map(sql.Literal, sorted(members.keys)))
    if members.keys:
        operator = sql.SQL("NOT IN" if members.complement else "IN")
        yield sql.SQL("{} {} ({})").format(where, operator, keys)
    elif not members.complement:
        yield FALSE


def _between(where: sql.Identifier, dimension: Dimension, span: Span, kind: str) -> sql.Composable:
    lo, hi = span
    ends = []
    if lo > NEG:
        ends.append(sql.SQL("{} >= {}").format(where, _bound(dimension, lo, kind)))
    if hi < POS:
        ends.append(sql.SQL("{} < {}").format(where, _bound(dimension, hi, kind)))
    return all_of(ends)


def _bound(dimension: Dimension, ordinal: int, kind: str) -> sql.Literal:
    """Return the start of a window as a literal for a column of type ``kind``."""
    if not isinstance(dimension, TimeDimension):
        return sql.Literal(first_value(dimension, ordinal))
    if kind.startswith("timestamp") and kind.endswith("with time zone"):
        return sql.Literal(instant(dimension, ordinal))
    if kind == "date" and dimension.grain != "hour":
        return sql.Literal(local_date(dimension, ordinal).date())
    if kind == "date" or kind.startswith("timestamp"):
        hourly = dimension.grain == "hour"
        return sql.Literal((_local if hourly else local_date)(dimension, ordinal))
    raise InvalidInput(
        f"a column of type {kind} cannot store a time partition: "
        "change the type to date, timestamp or timestamptz"
    )


def _local(dimension: TimeDimension, ordinal: int) -> datetime:
    """Return the local time at which a window starts, without offset."""
    zone = ZoneInfo(dimension.zone)
    return datetime.fromtimestamp(_start(dimension, ordinal), zone).replace(tzinfo=None)


def _start(dimension: TimeDimension, ordinal: int) -> int:
    """Return the start of a window in seconds since 1970-01-01T00:00Z."""
    # A day that the zone's clock skips has no window, but a start: the preceding day's end.
    (start,) = dimension.calendar.starts([ordinal])
    return start
