"""Sets of one dimension's partitions as conditions on a column."""

from collections.abc import Iterable, Iterator, Sequence
from datetime import UTC, date, datetime, time, timedelta
from typing import Any, cast
from zoneinfo import ZoneInfo

from psycopg import sql

from engine.errors import InvalidInput
from engine.partitions import (
    Dimension,
    Intervals,
    KeySet,
    RangeDimension,
    TimeDimension,
)
from engine.partitions.clock import clock
from engine.partitions.intervals import NEG, POS, Span
from engine.worker.operators.sql.tables import Table

_EPOCH = datetime(1970, 1, 1)  # noqa: DTZ001 a reading of any local clock
_MOST_LISTED = 100
"""Limit of keys or ranges in a condition; more are one constant, which is searched efficiently."""
TRUE = sql.SQL("TRUE")
FALSE = sql.SQL("FALSE")

Bounds = tuple[Any, Any]
"""Start and end of adjacent partitions in a column; None for an open end."""


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
    start = datetime.fromtimestamp(_start(dimension, ordinal), ZoneInfo(dimension.zone))
    return datetime.combine(start, time.min)


def instant(dimension: TimeDimension, ordinal: int) -> datetime:
    """Return the start of a window in UTC."""
    return datetime.fromtimestamp(_start(dimension, ordinal), UTC)


def first_value(dimension: Dimension, ordinal: int) -> int:
    """Return the first integer of a range's bucket."""
    ((first, _),) = cast("RangeDimension", dimension).windows(Intervals.single(ordinal)).spans
    return first


def conditions_of(
    column: str, dimension: Dimension, members: Intervals | KeySet, table: Table
) -> Iterator[sql.Composable]:
    """Yield at most one condition, and none if every value is a member.

    Raises TaskFailed or InvalidInput if the column is missing or has an unsuitable type.
    """
    where = sql.Identifier(column)
    if isinstance(members, KeySet):
        yield from _listed(where, members)
    elif members.spans != ((NEG, POS),):
        kind = table.type_of(column)
        spans = [bounds_of(dimension, span, kind) for span in members.spans]
        if len(spans) > _MOST_LISTED:
            # The ends are for indexes, which do not support the search in a multirange.
            yield all_of([*between(where, (spans[0][0], spans[-1][1])), _in_one_of(where, spans)])
        else:
            yield any_of(all_of(between(where, span)) for span in spans)


def _listed(where: sql.Identifier, members: KeySet) -> Iterator[sql.Composable]:
    """Compare with untyped literals, which take the type of the column."""
    keys = sorted(members.keys)
    if len(keys) > _MOST_LISTED:
        operator = sql.SQL("<> ALL" if members.complement else "= ANY")
        yield sql.SQL("{} {} ({})").format(where, operator, array(keys))
    elif keys:
        operator = sql.SQL("NOT IN" if members.complement else "IN")
        listed = sql.SQL(", ").join(map(sql.Literal, keys))
        yield sql.SQL("{} {} ({})").format(where, operator, listed)
    elif not members.complement:
        yield FALSE


def array(texts: Iterable[str]) -> sql.Literal:
    """Compose an untyped literal of an array."""
    quoted = (text.replace("\\", "\\\\").replace('"', '\\"') for text in texts)
    return sql.Literal("{" + ",".join(f'"{text}"' for text in quoted) + "}")


def between(where: sql.Identifier, bounds: Bounds) -> Iterator[sql.Composable]:
    """Yield a comparison for each end that is not open."""
    for operator, bound in zip((">=", "<"), bounds, strict=True):
        if bound is not None:
            yield sql.SQL("{} {} {}").format(where, sql.SQL(operator), bound)


def _in_one_of(where: sql.Identifier, spans: Sequence[Bounds]) -> sql.Composable:
    """Compare with a multirange."""
    kind, ranges = _range_types(spans[0][1])  # of several spans, the first has an end
    # Where clocks go back, a window in local time may end before its start, and contains nothing.
    texts = [
        f"[{'' if lo is None else lo},{'' if hi is None else hi})"
        for lo, hi in spans
        if lo is None or hi is None or lo < hi
    ]
    multirange = sql.SQL("CAST({} AS {})").format("{" + ",".join(texts) + "}", ranges)
    return sql.SQL("CAST({} AS {}) <@ {}").format(where, kind, multirange)


def _range_types(bound: object) -> tuple[sql.SQL, sql.SQL]:
    """Return the types of the elements and of the multirange for bounds like this one."""
    if isinstance(bound, datetime) and bound.tzinfo:
        return sql.SQL("timestamptz"), sql.SQL("tstzmultirange")
    if isinstance(bound, datetime):
        return sql.SQL("timestamp"), sql.SQL("tsmultirange")
    if isinstance(bound, date):
        return sql.SQL("date"), sql.SQL("datemultirange")
    return sql.SQL("numeric"), sql.SQL("nummultirange")


def bounds_of(dimension: Dimension, span: Span, kind: str) -> Bounds:
    """Return the bounds of adjacent partitions for a column of type ``kind``."""
    lo, hi = span
    return (
        None if lo == NEG else _bound(dimension, lo, kind),
        None if hi == POS else _bound(dimension, hi, kind),
    )


def _bound(dimension: Dimension, ordinal: int, kind: str) -> Any:
    """Return the start of a window as a value for a column of type ``kind``."""
    if not isinstance(dimension, TimeDimension):
        return first_value(dimension, ordinal)
    if kind.startswith("timestamp") and kind.endswith("with time zone"):
        return instant(dimension, ordinal)
    if kind == "date" and dimension.calendar.is_daily:
        return local_date(dimension, ordinal).date()
    if kind == "date" or kind.startswith("timestamp"):
        return (local_date if dimension.calendar.is_daily else _local)(dimension, ordinal)
    raise InvalidInput(
        f"a column of type {kind} cannot store a time partition: "
        "change the type to date, timestamp or timestamptz"
    )


def _local(dimension: TimeDimension, ordinal: int) -> datetime:
    """Return the local time, without offset, from which rows are in this window or a later one.

    A time repeated by a clock that is set back is in the later window, so the bound is the earliest
    local time that follows the start.
    """
    reading = clock(dimension.zone).earliest_reading(_start(dimension, ordinal))
    return _EPOCH + timedelta(seconds=reading)


def _start(dimension: TimeDimension, ordinal: int) -> int:
    """Return the start of a window in seconds since 1970-01-01T00:00Z."""
    # A day that the zone's clock skips has no window, but a start: the preceding day's end.
    (start,) = dimension.calendar.starts([ordinal])
    return start
