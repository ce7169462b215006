"""Schedules of sources: windows that count as changed every day, computed by plain datetime."""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import replace
from datetime import UTC, datetime, timedelta
from random import Random

from tests.simulation.dimensions import Dimension, Key, universe
from tests.simulation.world import Job, World

CRON = "0 2 * * *"
_HOUR = 2
_COVERS = ((-1, -1), (0, 0), (-2, 0), (-1, 1))


def with_schedules(rng: Random, world: World) -> World:
    """Return the world in which some sources by time have a schedule."""
    for job in world.sources:
        if _time_dimension(job) is not None and rng.random() < 0.7:
            world = world.replacing(replace(job, covers=rng.choice(_COVERS)))
    return world


def has_schedule(world: World) -> bool:
    return any(job.covers is not None for job in world.jobs)


def covered(job: Job, since: datetime, now: datetime) -> set[Key]:
    """Return the partitions that count as changed at the times after one time, up to another."""
    assert job.covers is not None
    i = _time_dimension(job)
    assert i is not None
    first, last = job.covers
    windows = {n for time in _times(since, now) for n in _containing(job.space[i], time)}
    grid = job.space[i].grid
    keys = {grid[n + k] for n in windows for k in range(first, last + 1) if 0 <= n + k < len(grid)}
    return {key for key in universe(job.space) if key[i] in keys}


def _times(since: datetime, now: datetime) -> Iterator[datetime]:
    time = since.astimezone(UTC).replace(hour=_HOUR, minute=0, second=0, microsecond=0)
    while time <= now:
        if time > since:
            yield time
        time += timedelta(days=1)


def _containing(dimension: Dimension, time: datetime) -> Iterator[int]:
    """Yield the index of the window that contains a time; none beyond the grid."""
    for n in range(len(dimension.grid)):
        start, end = dimension.span(n)
        if start <= time < end:
            yield n


def _time_dimension(job: Job) -> int | None:
    """Return the index of the only time dimension of a bounded source."""
    times = [i for i, dimension in enumerate(job.space) if dimension.kind == "time"]
    is_finite = all(dimension.is_finite for dimension in job.space)
    return times[0] if len(times) == 1 and is_finite and job.is_source else None
