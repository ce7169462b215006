"""Kinds of worlds, each with a name and a world per seed."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import replace
from random import Random

from tests.simulation.dimensions import Dimension
from tests.simulation.generate import EIGHT_RANGES, Maker, reading_all
from tests.simulation.spaces import Cutter
from tests.simulation.world import Output, World

THREE_RANGES = (Dimension("n", "range", size=10, bounds=(0, 3)),)


def world(seed: int) -> World:
    """Return a world of two to ten jobs: a random graph, or a shape known to be hard for waves."""
    dice = Random(f"world {seed}")
    maker = Maker(dice, Cutter.anywhere(dice))
    shape = dice.random()
    if shape < 0.1:
        return maker.ladder(dice.randint(1, 3))
    if shape < 0.15:
        return maker.chain(dice.randint(4, 6))
    return maker.any_world()


def picky_world(seed: int) -> World:
    """Return a world of few columns, each derived from a single input column."""
    dice = Random(f"picky world {seed}")
    return Maker(dice, Cutter.anywhere(dice)).picky()


def following_world(seed: int) -> World:
    """Return a small world whose first job follows the rows of a source."""
    dice = Random(f"following world {seed}")
    return Maker(dice, Cutter.anywhere(dice)).following()


def forked_world(seed: int) -> World:
    """Return a small world whose first job has separate readers for each output column."""
    dice = Random(f"forked world {seed}")
    return Maker(dice, Cutter.anywhere(dice)).forked()


def fanned_world(seed: int) -> World:
    """Return a forked world of three columns."""
    dice = Random(f"fanned world {seed}")
    return _automatic(Maker(dice, Cutter.anywhere(dice)).forked(columns=3))


def bundled_world(seed: int) -> World:
    """Return a forked world whose first job is a single run."""
    world = forked_world(seed)
    fork = world.by_name["job1"]
    return world.replacing(replace(fork, strategy="Full", per_task=1))


def blocked_world(seed: int) -> World:
    """Return a forked world whose first job builds three partitions per task."""
    dice = Random(f"blocked world {seed}")
    world = _automatic(Maker(dice, Cutter.anywhere(dice)).forked(space=THREE_RANGES))
    return world.replacing(replace(world.by_name["job1"], per_task=3))


def damped_world(seed: int) -> World:
    """Return a small world whose first job never changes its output."""
    dice = Random(f"damped world {seed}")
    return Maker(dice, Cutter.anywhere(dice)).damped()


def damped_blocks_world(seed: int) -> World:
    """Return a damped world whose jobs build three partitions per task."""
    dice = Random(f"damped blocks world {seed}")
    world = _automatic(Maker(dice, Cutter.anywhere(dice)).damped(space=THREE_RANGES))
    for job in world.derived_jobs:
        world = world.replacing(replace(reading_all(job), per_task=3))
    return world


def telling_world(seed: int) -> World:
    """Return a forked world whose first job reports columns, often with some unchanged."""
    dice = Random(f"telling world {seed}")
    world = _automatic(Maker(dice, Cutter.anywhere(dice)).forked(space=()))
    fork = world.by_name["job1"]
    return world.replacing(replace(fork, salt=6 * (fork.salt // 6) + 5, coarse=2))


def diamond_world(seed: int) -> World:
    """Return a world of a source, two readers, and a job that reads both."""
    dice = Random(f"diamond world {seed}")
    return Maker(dice, Cutter.anywhere(dice)).ladder(1)


def chain_world(seed: int) -> World:
    """Return a world of a source and a chain of three jobs with the same partitions."""
    dice = Random(f"chain world {seed}")
    return Maker(dice, Cutter.anywhere(dice)).chain(4)


def bounded_world(seed: int) -> World:
    """Return a small world whose source can be widened."""
    dice = Random(f"bounded world {seed}")
    return Maker(dice, Cutter.anywhere(dice)).bounded()


def ranged_world(seed: int) -> World:
    """Return a picky world with ordered partitions."""
    dice = Random(f"ranged world {seed}")
    return _automatic(Maker(dice, Cutter.anywhere(dice)).picky(space=EIGHT_RANGES))


def joined_world(seed: int) -> World:
    """Return a world where a job reads partitions of a source and all of another source."""
    dice = Random(f"joined world {seed}")
    return _automatic(Maker(dice, Cutter.anywhere(dice)).joined())


def beside_world(seed: int) -> World:
    """Return a world where a job reads a source and the output of a job over another source."""
    dice = Random(f"beside world {seed}")
    return _automatic(Maker(dice, Cutter.anywhere(dice)).beside())


def windowed_world(seed: int) -> World:
    """Return a world where jobs read a window of partitions, or the last partition."""
    dice = Random(f"windowed world {seed}")
    return _automatic(Maker(dice, Cutter.anywhere(dice)).windowed())


def mixed_world(seed: int) -> World:
    """Return a grouped world where rows depend on rows of other groups."""
    dice = Random(f"mixed world {seed}")
    return _automatic(Maker(dice, Cutter.anywhere(dice)).grouped(kind="window"))


def across_world(seed: int) -> World:
    """Return a chain whose source is in a separate DAG."""
    world = _automatic(chain_world(seed))
    return World(tuple(job if job.is_source else replace(job, dag="two") for job in world.jobs))


def grouped_world(seed: int) -> World:
    """Return a world where a job reads rows by group, and an output that never changes."""
    dice = Random(f"grouped world {seed}")
    return _automatic(Maker(dice, Cutter.anywhere(dice)).grouped())


def tiny_world(seed: int) -> World:
    """Return a world of one or two sources, with one to three jobs of any kind."""
    dice = Random(f"tiny world {seed}")
    return Maker(dice, Cutter.anywhere(dice)).any_world(most=4)


def undeclared_world(seed: int) -> World:
    """Return a bounded world with declared source columns, but no column lineage."""
    jobs = [replace(job, declares_columns=True) for job in bounded_world(seed).jobs]
    return World(tuple(replace(job, outputs=tuple(map(_undeclared, job.outputs))) for job in jobs))


def _undeclared(output: Output) -> Output:
    return replace(output, lineage=None)


WORLDS: dict[str, Callable[[int], World]] = {
    "any": world,
    "picky": picky_world,
    "following": following_world,
    "forked": forked_world,
    "fanned": fanned_world,
    "bundled": bundled_world,
    "blocked": blocked_world,
    "chain": chain_world,
    "telling": telling_world,
    "damped": damped_world,
    "damped blocks": damped_blocks_world,
    "diamond": diamond_world,
    "bounded": bounded_world,
    "ranged": ranged_world,
    "joined": joined_world,
    "beside": beside_world,
    "windowed": windowed_world,
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


def finding_less(world: World) -> World:
    """Return the world with some single-run jobs, whose output at times has fewer partitions."""
    for job in world.derived_jobs:
        if job.kind == "fold" and (job.strategy == "Full" or job.salt % 3 == 0):
            full = replace(reading_all(job), strategy="Full", finds_less=True)
            world = world.replacing(full)
    return world
