"""Partitions in being: those that exist by now, or may be built now.

A partition of a produced, time-partitioned dataset comes into being when its window begins, or
earlier, when an input has a partition within that window (a forecast, a booking). A job may delay
its partitions until some time after the end of their windows, or have all of them at any time
(``appears``). Partitions of sources and partitions that exist are in being in any case.
"""

from __future__ import annotations

from datetime import datetime
from functools import lru_cache

from engine.lineage.graph import Lineage
from engine.model.job import Appearance, Appears, Job
from engine.partitions import Intervals, PartitionSet, PartitionSpace, TimeDimension
from engine.partitions.intervals import NEG
from engine.planner.lookup import Among


def in_being(
    lineage: Lineage,
    job: Job,
    partitions: PartitionSet,
    now: datetime,
    outputs: Among,
    inputs: Among,
) -> PartitionSet:
    """Return those of a job's partitions that are in being.

    ``outputs`` and ``inputs`` return partitions of datasets, and are asked only if windows of the
    partitions are still to begin.
    """
    if job.is_source:
        return partitions
    ends = _ends(partitions.space, job.appears, int(now.timestamp()))
    if all(box[i].spans[-1][1] <= end for box in partitions.boxes for i, end in ends):
        return partitions  # the same object, because most of a wave shares it
    begun = partitions & begun_partitions(partitions.space, job.appears, now)
    later = partitions - begun
    existing = [outputs(output, later) for output in job.outputs]
    early = [
        edge.mapping.within(inputs(edge.dataset, edge.mapping.up(later)), later)
        for edge in lineage.inputs(job.id)
        if job.appears == Appearance.START and not edge.mapping.takes_last
    ]
    return PartitionSet.union([begun, *existing, *early])


def begun_partitions(space: PartitionSpace, appears: Appears, now: datetime) -> PartitionSet:
    """Return the partitions in being whatever partitions the inputs have."""
    box = list(space.universe.boxes[0])
    for i, end in _ends(space, appears, int(now.timestamp())):
        box[i] &= Intervals(((NEG, end),))
    return PartitionSet.of(space, [tuple(box)])


def begun_between(
    space: PartitionSpace, appears: Appears, since: datetime, now: datetime
) -> PartitionSet:
    """Return the partitions that have come into being between two times, without any input.

    A comparison of the ends is enough where no window has begun.
    """
    if _ends(space, appears, int(since.timestamp())) == _ends(space, appears, int(now.timestamp())):
        return space.empty
    return begun_partitions(space, appears, now) - begun_partitions(space, appears, since)


@lru_cache(maxsize=4096)
def _ends(space: PartitionSpace, appears: Appears, now: int) -> tuple[tuple[int, int], ...]:
    """Return the first ordinal not in being of each time dimension, by index."""
    if appears == Appearance.ALWAYS:
        return ()
    until = [now] if appears == Appearance.START else [now - int(appears)]
    begun = int(appears == Appearance.START)
    return tuple(
        (i, dimension.calendar.at(until)[0] + begun)
        for i, (_, dimension) in enumerate(space.dimensions)
        if isinstance(dimension, TimeDimension)
    )
