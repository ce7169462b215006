"""Chains: jobs that read earlier partitions of their own output, which are built in order."""

from __future__ import annotations

from dataclasses import replace
from random import Random

from tests.simulation.dimensions import Key, universe
from tests.simulation.mapping import Link, Read, needed
from tests.simulation.world import Job, Output, World

WINDOWS = ((-1, -1), (-1, -1), (-3, -1), (-2, -2))
SHARE = 0.6
"""Share of the jobs that read their own output, where they can."""


def with_own_reads(rng: Random, world: World) -> World:
    """Return the world in which some jobs read their own earlier partitions."""
    for job in world.derived_jobs:
        if _can_read_itself(job) and rng.random() < SHARE:
            world = world.replacing(_reading_itself(rng, job))
    return world


def has_chain(world: World) -> bool:
    return any(job.own_read is not None for job in world.jobs)


def earlier(job: Job, key: Key) -> set[Key]:
    """Return the partitions of its own output that a job reads for a partition."""
    own = job.own_read
    if own is None:
        return set()
    return needed(own, job.space, job.space, key, {*universe(job.space)})


def _can_read_itself(job: Job) -> bool:
    is_ordered = any(dimension.is_ordered for dimension in job.space)
    return is_ordered and not job.is_single_run and len(job.outputs) == 1


def _reading_itself(rng: Random, job: Job) -> Job:
    (output,), space = job.outputs, job.space
    chained = rng.choice([i for i, dimension in enumerate(space) if dimension.is_ordered])
    window = rng.choice(WINDOWS)
    links = (Link(i, i, window=window if i == chained else None) for i in range(len(space)))
    is_finite = all(dimension.is_finite for dimension in space)
    wait_for = rng.choice(["all", 1]) if is_finite and rng.random() < 0.15 else "any"
    own = Read(output.name, tuple(links), wait_for=wait_for)
    outputs = (_with_own_lineage(rng, output),)
    return replace(job, reads=(*job.reads, own), outputs=outputs, per_task=1)


def _with_own_lineage(rng: Random, output: Output) -> Output:
    """Return the output with each column derived from itself, or from all own columns."""
    if output.lineage is None or rng.random() < 0.4:
        return output
    lineage = {column: (*pairs, (output.name, column)) for column, pairs in output.lineage}
    own = {column: ((output.name, column),) for column in output.columns}
    kept = {column: lineage.get(column, own.get(column, ())) for column in (*own, *lineage)}
    return replace(output, lineage=tuple(sorted(kept.items())))


__all__ = ["earlier", "has_chain", "with_own_reads"]
