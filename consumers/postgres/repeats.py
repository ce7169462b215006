"""Windows with ambiguous wall-clock readings, because the clock was set back.

The triggers derive a row's window from the reading alone, as if the zone never changed its clock.
That is correct except for the few windows computed here.
"""

from collections.abc import Iterator
from dataclasses import replace
from datetime import UTC, datetime
from math import gcd

from engine.partitions.calendar import HOUR
from engine.partitions.clock import clock
from engine.partitions.intervals import Intervals
from engine.partitions.time_dimension import TimeDimension


def repeats(dimension: TimeDimension) -> dict[datetime, str]:
    """The last possible key of ambiguous readings, by the bucket of their window.

    `2013-11-03 01:00` of hours in New York gives `2013-11-03T01-0500`.
    """
    windows = replace(dimension, start=None, end=None)
    plain = replace(windows, zone="UTC")
    grid = dimension.calendar
    lasts: dict[datetime, str] = {}
    for instant, reading in _repeated_readings(dimension.zone, gcd(HOUR, grid.resolution)):
        key, bucket = windows.format(_window(windows, instant)), _window(plain, reading)
        if key != plain.format(bucket):
            start = plain.windows(Intervals.single(bucket)).spans[0][0]
            lasts[datetime.fromtimestamp(start - grid.shift, UTC).replace(tzinfo=None)] = key
    return lasts


def _window(dimension: TimeDimension, instant: int) -> int:
    return dimension.overlapping(Intervals.single(instant)).spans[0][0]


def _repeated_readings(zone: str, step: int) -> Iterator[tuple[int, int]]:
    """Pairs (instant, reading) when the clock is set back, and at each step repeated."""
    turns = clock(zone)
    for cut, offset, peak in zip(turns.cuts[1:], turns.offsets[1:], turns.peaks, strict=False):
        reading = cut + offset
        while reading < peak:
            yield reading - offset, reading
            reading = (reading // step + 1) * step
