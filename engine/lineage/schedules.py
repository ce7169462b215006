"""Schedules of sources: the partitions that a time covers, and changes between DAG versions."""

from collections.abc import Mapping, Sequence
from datetime import datetime
from typing import Any

from engine.lineage.compiled import CompiledDag
from engine.partitions import Intervals, PartitionSet, PartitionSpace, TimeDimension

_JUST_ENDED = (-1, -1)


def covered(
    space: PartitionSpace,
    source: Mapping[str, Any],
    times: Sequence[datetime],
    *,
    is_gapless: bool = True,
) -> PartitionSet:
    """Return the partitions that count as changed at times of a schedule, in ascending order.

    Without ``is_gapless``, times between the first two are missing, and their partitions are
    included.
    """
    found, covers = time_dimension(space), source.get("covers")
    if found is None or covers_all(space, source):
        return space.universe
    index, dimension = found
    first, last = covers or _JUST_ENDED
    windows = dimension.calendar.at([int(time.timestamp()) for time in times])
    spans = [(window + first, window + last + 1) for window in windows]
    if not is_gapless:
        spans.append((spans[0][0], spans[1][1]))
    box = list(space.universe.boxes[0])
    box[index] &= Intervals.of(spans)
    return PartitionSet.of(space, [tuple(box)])


def covers_all(space: PartitionSpace, source: Mapping[str, Any]) -> bool:
    """Return True if a schedule is about its dataset as a whole, whatever the time."""
    return source.get("covers") == "all" or time_dimension(space) is None


def time_dimension(space: PartitionSpace) -> tuple[int, TimeDimension] | None:
    """Return the only time dimension and its index; None if there is none, or several."""
    dimensions = enumerate(dimension for _, dimension in space.dimensions)
    found = [(i, each) for i, each in dimensions if isinstance(each, TimeDimension)]
    return found[0] if len(found) == 1 else None


def changed_schedules(before: CompiledDag | None, now: CompiledDag) -> frozenset[str]:
    """Return the datasets with a schedule that is added, changed or removed."""
    earlier, later = _schedules(before), _schedules(now)
    names = earlier.keys() | later.keys()
    return frozenset(name for name in names if earlier.get(name) != later.get(name))


def _schedules(dag: CompiledDag | None) -> dict[str, Mapping[str, Any]]:
    return {
        dataset: {"zone": "UTC"} | job.source
        for job in (dag.jobs if dag else ())
        if job.source is not None and job.source["kind"] == "schedule"
        for dataset in job.outputs
    }
