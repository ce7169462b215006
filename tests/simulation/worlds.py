"""Kinds of worlds, each with a name and a world per seed.

The texts that seed a random generator determine the worlds, and are kept when a kind is renamed.
"""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import replace
from itertools import count
from random import Random

from tests.simulation.chains import has_chain, with_own_reads
from tests.simulation.dimensions import Dimension, Space
from tests.simulation.generate import EIGHT_RANGES, WorldGenerator, reading_all
from tests.simulation.schedules import has_schedule, with_schedules
from tests.simulation.spaces import MORE_GRAINS, PartitioningGenerator
from tests.simulation.world import APPEARANCES, Job, Output, World

THREE_RANGES = (Dimension("n", "range", size=10, bounds=(0, 3)),)


def world(seed: int) -> World:
    """Return a world of two to ten jobs: a random graph, or a shape known to be hard for waves."""
    rng = Random(f"world {seed}")
    generator = WorldGenerator(rng, PartitioningGenerator.random_place(rng))
    shape = rng.random()
    if shape < 0.1:
        return generator.ladder(rng.randint(1, 3))
    if shape < 0.15:
        return generator.chain(rng.randint(4, 6))
    return generator.any_world()


def world_of_grids(seed: int) -> World:
    """Return a random graph with weeks from Sunday, days from 01:30, steps and expressions."""
    rng = Random(f"world of grids {seed}")
    partitionings = replace(PartitioningGenerator.random_place(rng), more_grains=MORE_GRAINS)
    return WorldGenerator(rng, partitionings).any_world()


def world_in_time(seed: int) -> World:
    """Return a world with several jobs by time, of which some have partitions that appear late."""
    for attempt in count():
        rng = Random(f"world in time {seed} {attempt}")
        place = PartitioningGenerator.random_place(rng)
        by_time = replace(place, more_grains=("hour", "day", "day", "month", *MORE_GRAINS))
        world = WorldGenerator(rng, by_time).any_world(5)
        appearing = [job for job in world.derived_jobs if any(d.kind == "time" for d in job.space)]
        if len(appearing) > 1:
            for job in appearing:
                world = world.replacing(replace(job, appears=rng.choice(APPEARANCES)))
            if rng.random() < 0.3 or any(map(_appears_late, appearing)):
                return world
    raise AssertionError


def scheduled_world(seed: int) -> World:
    """Return a world in time with at least one source that has a schedule."""
    for attempt in count():
        rng = Random(f"scheduled world {seed} {attempt}")
        scheduled = with_schedules(rng, world_in_time(rng.randrange(2**32)))
        if has_schedule(scheduled):
            return scheduled
    raise AssertionError


def chained_world(seed: int) -> World:
    """Return a world in which at least one job reads its own earlier partitions."""
    for attempt in count():
        rng = Random(f"chained world {seed} {attempt}")
        kind = rng.choice([world, world, tiny_world, bounded_world, windowed_world, ranged_world])
        chained = with_own_reads(rng, kind(rng.randrange(2**32)))
        if has_chain(chained):
            return chained
    raise AssertionError


def _appears_late(job: Job) -> bool:
    """Return whether changes reach partitions that come into being later."""
    is_delayed = job.appears not in ("start", "always")
    return is_delayed or any(link.window for read in job.upstream_reads for link in read.links)


def narrow_world(seed: int) -> World:
    """Return a world of few columns, each derived from a single input column."""
    rng = Random(f"picky world {seed}")
    return WorldGenerator(rng, PartitioningGenerator.random_place(rng)).narrow()


def following_world(seed: int) -> World:
    """Return a small world whose first job follows the rows of a source."""
    rng = Random(f"following world {seed}")
    return WorldGenerator(rng, PartitioningGenerator.random_place(rng)).following()


def forked_world(seed: int) -> World:
    """Return a small world whose first job has separate readers for each output column."""
    rng = Random(f"forked world {seed}")
    return WorldGenerator(rng, PartitioningGenerator.random_place(rng)).forked()


def fanned_world(seed: int) -> World:
    """Return a forked world of three columns."""
    rng = Random(f"fanned world {seed}")
    return _automatic(
        WorldGenerator(rng, PartitioningGenerator.random_place(rng)).forked(columns=3)
    )


def bundled_world(seed: int) -> World:
    """Return a forked world whose first job is a single run."""
    world = forked_world(seed)
    fork = world.by_name["job1"]
    return world.replacing(replace(fork, strategy="Full", per_task=1))


def blocked_world(seed: int) -> World:
    """Return a forked world whose first job builds three partitions per task."""
    rng = Random(f"blocked world {seed}")
    world = _automatic(
        WorldGenerator(rng, PartitioningGenerator.random_place(rng)).forked(space=THREE_RANGES)
    )
    return world.replacing(replace(world.by_name["job1"], per_task=3))


def damped_world(seed: int) -> World:
    """Return a small world whose first job never changes its output."""
    rng = Random(f"damped world {seed}")
    return WorldGenerator(rng, PartitioningGenerator.random_place(rng)).damped()


def damped_blocks_world(seed: int) -> World:
    """Return a damped world whose jobs build three partitions per task."""
    rng = Random(f"damped blocks world {seed}")
    world = _automatic(
        WorldGenerator(rng, PartitioningGenerator.random_place(rng)).damped(space=THREE_RANGES)
    )
    for job in world.derived_jobs:
        world = world.replacing(replace(reading_all(job), per_task=3))
    return world


def reporting_world(seed: int) -> World:
    """Return a forked world whose first job reports columns, often with some unchanged."""
    rng = Random(f"telling world {seed}")
    world = _automatic(
        WorldGenerator(rng, PartitioningGenerator.random_place(rng)).forked(space=())
    )
    fork = world.by_name["job1"]
    return world.replacing(replace(fork, salt=6 * (fork.salt // 6) + 5, modulus=2))


def diamond_world(seed: int) -> World:
    """Return a world of a source, two readers, and a job that reads both."""
    rng = Random(f"diamond world {seed}")
    return WorldGenerator(rng, PartitioningGenerator.random_place(rng)).ladder(1)


def chain_world(seed: int) -> World:
    """Return a world of a source and a chain of three jobs with the same partitions."""
    rng = Random(f"chain world {seed}")
    return WorldGenerator(rng, PartitioningGenerator.random_place(rng)).chain(4)


def listed_world(seed: int) -> World:
    """Return a small world partitioned by a list of keys, of which jobs read all or the last."""
    rng = Random(f"listed world {seed}")
    return _automatic(WorldGenerator(rng, PartitioningGenerator.random_place(rng)).listed())


def bounded_world(seed: int) -> World:
    """Return a small world whose source can be widened."""
    rng = Random(f"bounded world {seed}")
    return WorldGenerator(rng, PartitioningGenerator.random_place(rng)).bounded()


def ranged_world(seed: int) -> World:
    """Return a narrow world with ordered partitions."""
    rng = Random(f"ranged world {seed}")
    return _automatic(
        WorldGenerator(rng, PartitioningGenerator.random_place(rng)).narrow(space=EIGHT_RANGES)
    )


def joined_world(seed: int) -> World:
    """Return a world where a job reads partitions of a source and all of another source."""
    rng = Random(f"joined world {seed}")
    return _automatic(WorldGenerator(rng, PartitioningGenerator.random_place(rng)).joined())


def beside_world(seed: int) -> World:
    """Return a world where a job reads a source and the output of a job over another source."""
    rng = Random(f"beside world {seed}")
    return _automatic(WorldGenerator(rng, PartitioningGenerator.random_place(rng)).beside())


def beside_full_world(seed: int) -> World:
    """Return a world where a job reads a source and the output of a `Full` job."""
    one, other, upper, lower = beside_world(seed).jobs
    return World((one, other, replace(upper, strategy="Full"), lower))


def windowed_world(seed: int) -> World:
    """Return a world where jobs read a window of partitions, or the last partition."""
    rng = Random(f"windowed world {seed}")
    return _automatic(WorldGenerator(rng, PartitioningGenerator.random_place(rng)).windowed())


def windowed_full_world(seed: int) -> World:
    """Return an unbounded world where one run builds all partitions of the windowed job."""
    source, copy, window, below, _ = windowed_world(seed).jobs
    jobs = (source, copy, replace(window, strategy="Full"), below)
    return World(tuple(replace(job, space=_unbounded(job.space)) for job in jobs))


def _unbounded(space: Space) -> Space:
    return tuple(replace(dimension, bounds=(None, None)) for dimension in space)


def mixed_world(seed: int) -> World:
    """Return a grouped world where rows depend on rows of other groups."""
    rng = Random(f"mixed world {seed}")
    return _automatic(
        WorldGenerator(rng, PartitioningGenerator.random_place(rng)).grouped(kind="window")
    )


def across_world(seed: int) -> World:
    """Return a chain whose source is in a separate DAG."""
    world = _automatic(chain_world(seed))
    return World(tuple(job if job.is_source else replace(job, dag="two") for job in world.jobs))


def grouped_world(seed: int) -> World:
    """Return a world where a job reads rows by group, and an output that never changes."""
    rng = Random(f"grouped world {seed}")
    return _automatic(WorldGenerator(rng, PartitioningGenerator.random_place(rng)).grouped())


def tiny_world(seed: int) -> World:
    """Return a world of one or two sources, with one to three jobs of any kind."""
    rng = Random(f"tiny world {seed}")
    return WorldGenerator(rng, PartitioningGenerator.random_place(rng)).any_world(max_jobs=4)


def undeclared_world(seed: int) -> World:
    """Return a bounded world with declared source columns, but no column lineage."""
    jobs = [replace(job, declares_columns=True) for job in bounded_world(seed).jobs]
    return World(tuple(replace(job, outputs=tuple(map(_undeclared, job.outputs))) for job in jobs))


def _undeclared(output: Output) -> Output:
    return replace(output, lineage=None)


WORLDS: dict[str, Callable[[int], World]] = {
    "any": world,
    "narrow": narrow_world,
    "following": following_world,
    "forked": forked_world,
    "fanned": fanned_world,
    "bundled": bundled_world,
    "blocked": blocked_world,
    "chain": chain_world,
    "reporting": reporting_world,
    "damped": damped_world,
    "damped blocks": damped_blocks_world,
    "diamond": diamond_world,
    "bounded": bounded_world,
    "ranged": ranged_world,
    "joined": joined_world,
    "beside": beside_world,
    "beside full": beside_full_world,
    "windowed": windowed_world,
    "windowed full": windowed_full_world,
    "mixed": mixed_world,
    "across": across_world,
    "grouped": grouped_world,
    "tiny": tiny_world,
    "undeclared": undeclared_world,
}
"""Kinds of worlds by name."""


def _automatic(world: World) -> World:
    """Return the world without manual jobs."""
    return World(tuple(replace(job, is_manual=False) for job in world.jobs))


def with_empty_partitions(world: World) -> World:
    """Return the world with some single-run jobs, whose output at times has fewer partitions."""
    for job in world.derived_jobs:
        if job.kind == "fold" and (job.strategy == "Full" or job.salt % 3 == 0):
            full = replace(reading_all(job), strategy="Full", may_be_empty=True)
            world = world.replacing(full)
    return world
