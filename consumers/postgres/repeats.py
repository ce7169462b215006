"""Windows that a wall-clock reading does not tell apart, because the clock was set back.

The triggers find a row's window from the reading alone, as it would be in a zone that never
changes its clock. That is right for all but the few windows listed here.
"""

from collections.abc import Iterator
from datetime import UTC, datetime

from engine.partitions.calendar import HOUR
from engine.partitions.clock import clock
from engine.partitions.intervals import Intervals
from engine.partitions.time_dimension import TimeDimension


def repeats(grain: str, zone: str) -> dict[datetime, str]:
    """The last key that a reading may belong to, by the start of its window on the clock.

    `2013-11-03 01:00` of hours in New York gives `2013-11-03T01-0500`.

    Raises:
        InvalidPartition: there is no such grain or zone.
    """
    windows, plain = TimeDimension(grain, zone), TimeDimension(grain)
    lasts: dict[datetime, str] = {}
    for instant, reading in _shown_again(zone):
        key, bucket = windows.format(_window(windows, instant)), _window(plain, reading)
        if key != plain.format(bucket):
            lasts[_start(plain, bucket)] = key
    return lasts


def _window(dimension: TimeDimension, instant: int) -> int:
    return dimension.overlapping(Intervals.single(instant)).spans[0][0]


def _start(dimension: TimeDimension, window: int) -> datetime:
    seconds = dimension.windows(Intervals.single(window)).spans[0][0]
    return datetime.fromtimestamp(seconds, UTC).replace(tzinfo=None)


def _shown_again(zone: str) -> Iterator[tuple[int, int]]:
    """(instant, reading) where the clock is set back, and at each full hour until it is past."""
    turns = clock(zone)
    for cut, offset, peak in zip(turns.cuts[1:], turns.offsets[1:], turns.peaks, strict=False):
        reading = cut + offset
        while reading < peak:
            yield reading - offset, reading
            reading = (reading // HOUR + 1) * HOUR
