"""Instants denoted by the texts of row filters.

Text with an offset is an instant, text without an offset is wall time, and a date is the whole day.
"""

from __future__ import annotations

from collections.abc import Collection, Iterable
from datetime import UTC, date, datetime, timedelta
from math import ceil, floor
from zoneinfo import ZoneInfo

from engine.lineage.rows import Condition, Scalar
from engine.partitions.intervals import NEG, POS

Reach = tuple[int, int, int]
"""The interval of a value on an axis: (lo, start, hi), with ``start`` its latest start.

The value starts between lo and start and ends before hi.
"""

_EARLIEST = int(datetime(2, 1, 1, tzinfo=UTC).timestamp())
_LATEST = int(datetime(9999, 1, 1, tzinfo=UTC).timestamp())
"""Times outside these bounds count as open ends: in other zones, they may have no date."""


def is_of_times(condition: Condition) -> bool:
    """Return True if a condition compares with a date or a time."""
    return any(isinstance(value, str) and _parsed(value) for value in condition.values)


def instants(value: Scalar, zones: Collection[str], zone: str) -> Reach | None:
    """Return the reach of a value in seconds since 1970-01-01T00:00Z; None if it is not a time.

    ``zones`` are the time zones of the filter, and ``zone`` is that of the partitions. The filtered
    column stores instants, or wall time, which has another meaning in another zone, and two while
    the clock is set back: the reach covers all of them.
    """
    start = _parsed(value) if isinstance(value, str) else None
    if start is None:
        return None
    try:
        end = start + (timedelta(days=1) if _is_date(str(value)) else timedelta.resolution)
        starts, ends = (_readings(moment, zones, zone) for moment in (start, end))
    except (ValueError, OverflowError):
        return None
    return _lower(min(starts)), _upper(max(starts)), _upper(max(ends))


def _parsed(value: str) -> datetime | None:
    try:
        return datetime.fromisoformat(value)
    except ValueError:
        return None


def _is_date(value: str) -> bool:
    try:
        date.fromisoformat(value)
    except ValueError:
        return False
    return True


def _readings(moment: datetime, zones: Collection[str], zone: str) -> list[float]:
    """Return the timestamps that a time can denote."""
    if moment.tzinfo is None:
        return _of_wall_times([moment], {zone, *zones})
    walls = [moment.astimezone(ZoneInfo(z)).replace(tzinfo=None) for z in zones]
    return [moment.timestamp(), *_of_wall_times(walls, [zone])]


def _of_wall_times(walls: Iterable[datetime], zones: Collection[str]) -> list[float]:
    """Return the timestamps of wall times: two if the zone's clock is set back over the time."""
    return [
        wall.replace(tzinfo=ZoneInfo(zone), fold=fold).timestamp()
        for wall in walls
        for zone in zones
        for fold in (0, 1)
    ]


def _lower(timestamp: float) -> int:
    return NEG if timestamp < _EARLIEST else min(floor(timestamp), _LATEST)


def _upper(timestamp: float) -> int:
    return POS if timestamp > _LATEST else max(ceil(timestamp), _EARLIEST)
