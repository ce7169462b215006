"""Changes of bounds and key lists, which keep the partitions in both grids."""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import replace
from random import Random

from tests.simulation.dimensions import Dimension
from tests.simulation.spaces import MAX_KEYS
from tests.simulation.world import Job, World


def with_other_bounds(world: World, rng: Random) -> World:
    """Return the world with other bounds or keys of a dimension, in one job or wherever it occurs.

    A source keeps the order of its keys, because events may name ranges of them.
    """
    choices = [
        (job, dimension, other)
        for job in world.jobs
        if not job.follows
        for dimension in job.space
        for other in _others(dimension, world.sources[0].alphabet)
        if _is_possible(world, job, dimension, other)
    ]
    if not choices:
        return world
    chosen, dimension, other = rng.choice(choices)
    jobs = [chosen] if rng.random() < 0.5 else [job for job in world.jobs if not job.follows]
    for job in jobs:
        if dimension in job.space and _is_possible(world, job, dimension, other):
            space = tuple(other if d == dimension else d for d in job.space)
            world = world.replacing(replace(job, space=space))
    return world


def _others(d: Dimension, alphabet: tuple[str, ...]) -> Iterator[Dimension]:
    """Yield the dimension with bounds moved by one key, or with another list of keys.

    Static and dynamic dimensions have keys of the alphabet only, which sources alone know.
    """
    if d.kind == "static":
        new = next((key for key in alphabet if key not in d.keys), None)
        yield replace(d, keys=(*d.keys[1:], d.keys[0]))
        if len(d.keys) > 1:
            yield replace(d, keys=d.keys[1:])
            yield replace(d, keys=d.keys[:-1])
        if new is not None:
            yield replace(d, keys=(new, *d.keys))
            yield replace(d, keys=(*d.keys, new))
        return
    lo, hi = d.bounds
    if d.is_ordered:
        for bounds in (
            *([] if lo is None else [(lo + 1, hi), (lo - 1, hi)]),
            *([] if hi is None else [(lo, hi + 1), (lo, hi - 1)]),
        ):
            if _are_valid(d, *bounds):
                yield replace(d, bounds=bounds)


def _are_valid(d: Dimension, lo: int | None, hi: int | None) -> bool:
    if (lo is not None and lo < 0) or (hi is not None and hi >= len(d.grid)):
        return False
    return None in (lo, hi) or 0 < (hi or 0) - (lo or 0) <= MAX_KEYS


def _is_possible(world: World, job: Job, before: Dimension, other: Dimension) -> bool:
    """Return whether no key map names a removed key, and no range of a source is reordered."""
    if before.kind != "static":
        return True
    is_in_order = [key for key in before.keys if key in other.keys] == [
        key for key in other.keys if key in before.keys
    ]
    if job.is_source and not is_in_order:
        return False
    index = job.space.index(before)
    mapped = {
        key
        for reader in world.jobs
        for read in reader.reads
        for link in read.links
        if link.keymap is not None
        for source, targets in link.keymap
        for key in (
            *([source] if read.dataset in _names(job) and link.source == index else []),
            *(targets if reader == job and link.target == index else []),
        )
    }
    return mapped <= {*other.keys}


def _names(job: Job) -> set[str]:
    return {output.name for output in job.outputs}
