"""Partitions in being, key by key; no code is shared with the engine."""

from __future__ import annotations

from collections import defaultdict
from collections.abc import Collection, Iterator, Mapping
from datetime import datetime, timedelta

from tests.simulation.dimensions import Dimension, Key, universe
from tests.simulation.mapping import Read, needed
from tests.simulation.world import Job, World

Keys = Mapping[str, Collection[Key]]


def in_being(world: World, job: Job, key: Key, existing: Keys, moment: datetime | None) -> bool:
    """Return whether a partition exists, or may be built at a moment; None: after all windows."""
    times = [i for i, dimension in enumerate(job.space) if dimension.kind == "time"]
    if moment is None or job.is_source or not times or job.appears == "always":
        return True
    if any(key in existing[output.name] for output in job.outputs):
        return True
    if all(_has_begun(job, job.space[i], key[i], moment) for i in times):
        return True
    return job.appears == "start" and any(
        _is_early(world, job, read, key, times, existing[read.dataset]) for read in job.reads
    )


def has_begun(world: World, job: Job, key: Key, existing: Keys, moment: datetime | None) -> bool:
    """Return whether a partition exists, or its windows have begun, whatever its inputs."""
    nothing: Keys = defaultdict(set, {output.name: existing[output.name] for output in job.outputs})
    return in_being(world, job, key, nothing, moment)


def possible(world: World, existing: Keys, moment: datetime | None) -> dict[str, set[Key]]:
    """Return the partitions in being once all partitions in being upstream are built."""
    keys: defaultdict[str, set[Key]] = defaultdict(set)
    for job in world.jobs:
        for output in job.outputs:
            keys[output.name] = {*existing[output.name]}
        if not job.is_source:
            begun = {k for k in universe(job.space) if in_being(world, job, k, keys, moment)}
            for output in job.outputs:
                keys[output.name] |= begun
    return keys


def boundaries(world: World) -> list[datetime]:
    """Return the moments at which windows begin or end, or partitions appear after an end."""
    moments = {
        moment
        for job in world.derived_jobs
        for dimension in job.space
        if dimension.kind == "time"
        for key in dimension.universe
        for moment in _moments(job, dimension, key)
    }
    return sorted(moments)


def _moments(job: Job, dimension: Dimension, key: str) -> Iterator[datetime]:
    start, end = dimension.span(dimension.grid.index(key))
    yield from (start, end)
    if isinstance(job.appears, int):
        yield end + timedelta(seconds=job.appears)


def _has_begun(job: Job, dimension: Dimension, key: str, moment: datetime) -> bool:
    start, end = dimension.span(dimension.grid.index(key))
    if job.appears == "start":
        return bool(start <= moment)
    delay = 0 if job.appears == "end" else int(job.appears)
    return bool(end + timedelta(seconds=delay) <= moment)


def _is_early(
    world: World, job: Job, read: Read, key: Key, times: list[int], existing: Collection[Key]
) -> bool:
    """Return whether a partition reads an input partition within its own windows."""
    source = world.producers[read.dataset].space
    links = {link.target: link for link in read.links}
    if read.latest is not None or not {*times} <= links.keys():
        return False
    for link in links.values():
        if link.target in times and link.window and not link.window[0] <= 0 <= link.window[1]:
            return False
    return any(
        all(
            _is_within(source[links[i].source], input_key[links[i].source], job.space[i], key[i])
            for i in times
        )
        for input_key in needed(read, source, job.space, key, existing)
    )


def _is_within(inner: Dimension, inner_key: str, outer: Dimension, outer_key: str) -> bool:
    start, end = inner.span(inner.grid.index(inner_key))
    outer_start, outer_end = outer.span(outer.grid.index(outer_key))
    return bool(outer_start <= start and end <= outer_end)
