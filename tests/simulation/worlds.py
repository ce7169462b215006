"""Kinds of worlds, each with a name and one world for every seed."""

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
    """A world of two to ten jobs: any graph, or one of the shapes that waves are known to break."""
    dice = Random(f"world {seed}")
    maker = Maker(dice, Cutter.anywhere(dice))
    shape = dice.random()
    if shape < 0.1:
        return maker.ladder(dice.randint(1, 3))
    if shape < 0.15:
        return maker.chain(dice.randint(4, 6))
    return maker.any_world()


def picky_world(seed: int) -> World:
    """A world of few columns, each from one other, for waves that take long to be told of."""
    dice = Random(f"picky world {seed}")
    return Maker(dice, Cutter.anywhere(dice)).picky()


def following_world(seed: int) -> World:
    """A small world whose first job follows the rows of a source."""
    dice = Random(f"following world {seed}")
    return Maker(dice, Cutter.anywhere(dice)).following()


def forked_world(seed: int) -> World:
    """A small world whose first job makes columns for readers of their own."""
    dice = Random(f"forked world {seed}")
    return Maker(dice, Cutter.anywhere(dice)).forked()


def fanned_world(seed: int) -> World:
    """A forked world of three columns."""
    dice = Random(f"fanned world {seed}")
    return _automatic(Maker(dice, Cutter.anywhere(dice)).forked(columns=3))


def bundled_world(seed: int) -> World:
    """A forked world whose first job is a single run."""
    made = forked_world(seed)
    fork = made.by_name["job1"]
    return made.replacing(replace(fork, strategy="Full", per_task=1))


def blocked_world(seed: int) -> World:
    """A forked world whose first job builds three partitions in one task."""
    dice = Random(f"blocked world {seed}")
    made = _automatic(Maker(dice, Cutter.anywhere(dice)).forked(space=THREE_RANGES))
    return made.replacing(replace(made.by_name["job1"], per_task=3))


def damped_world(seed: int) -> World:
    """A small world whose first job always comes out unchanged."""
    dice = Random(f"damped world {seed}")
    return Maker(dice, Cutter.anywhere(dice)).damped()


def damped_blocks_world(seed: int) -> World:
    """A damped world whose jobs build three partitions in one task."""
    dice = Random(f"damped blocks world {seed}")
    made = _automatic(Maker(dice, Cutter.anywhere(dice)).damped(space=THREE_RANGES))
    for job in made.made:
        made = made.replacing(replace(reading_all(job), per_task=3))
    return made


def telling_world(seed: int) -> World:
    """A forked world whose first job reports each column, and often makes one as it was."""
    dice = Random(f"telling world {seed}")
    made = _automatic(Maker(dice, Cutter.anywhere(dice)).forked(space=()))
    fork = made.by_name["job1"]
    return made.replacing(replace(fork, salt=6 * (fork.salt // 6) + 5, coarse=2))


def diamond_world(seed: int) -> World:
    """A source, two jobs that read it, and one that reads both."""
    dice = Random(f"diamond world {seed}")
    return Maker(dice, Cutter.anywhere(dice)).ladder(1)


def chain_world(seed: int) -> World:
    """A source with three jobs one after another, of the same partitions."""
    dice = Random(f"chain world {seed}")
    return Maker(dice, Cutter.anywhere(dice)).chain(4)


def bounded_world(seed: int) -> World:
    """A small world with a source that may reach further."""
    dice = Random(f"bounded world {seed}")
    return Maker(dice, Cutter.anywhere(dice)).bounded()


def ranged_world(seed: int) -> World:
    """A picky world with partitions in order."""
    dice = Random(f"ranged world {seed}")
    return _automatic(Maker(dice, Cutter.anywhere(dice)).picky(space=EIGHT_RANGES))


def joined_world(seed: int) -> World:
    """A job that reads a partition of one source and all of another."""
    dice = Random(f"joined world {seed}")
    return _automatic(Maker(dice, Cutter.anywhere(dice)).joined())


def beside_world(seed: int) -> World:
    """A job that reads what another makes of a source, and a second source."""
    dice = Random(f"beside world {seed}")
    return _automatic(Maker(dice, Cutter.anywhere(dice)).beside())


def windowed_world(seed: int) -> World:
    """Jobs that read a window of partitions, and the last one."""
    dice = Random(f"windowed world {seed}")
    return _automatic(Maker(dice, Cutter.anywhere(dice)).windowed())


def mixed_world(seed: int) -> World:
    """A grouped world, but rows look at those of other groups on their way."""
    dice = Random(f"mixed world {seed}")
    return _automatic(Maker(dice, Cutter.anywhere(dice)).grouped(kind="window"))


def across_world(seed: int) -> World:
    """A chain whose source is in a DAG of its own."""
    made = _automatic(chain_world(seed))
    return World(tuple(job if job.is_source else replace(job, dag="two") for job in made.jobs))


def grouped_world(seed: int) -> World:
    """A job that reads rows by group, and a result that is always the same."""
    dice = Random(f"grouped world {seed}")
    return _automatic(Maker(dice, Cutter.anywhere(dice)).grouped())


def tiny_world(seed: int) -> World:
    """A source or two, with one to three jobs of any kind."""
    dice = Random(f"tiny world {seed}")
    return Maker(dice, Cutter.anywhere(dice)).any_world(most=4)


def undeclared_world(seed: int) -> World:
    """A bounded world with the columns of sources, but without lineage of columns."""
    made = [replace(job, tells_columns=True) for job in bounded_world(seed).jobs]
    return World(tuple(replace(job, outputs=tuple(map(_undeclared, job.outputs))) for job in made))


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
"""Kinds of worlds, by name."""


def _automatic(world: World) -> World:
    """Return the world without manual jobs."""
    return World(tuple(replace(job, is_manual=False) for job in world.jobs))


def finding_less(world: World) -> World:
    """Return the world with some jobs that build everything together, and find less at times."""
    for job in world.made:
        if job.kind == "fold" and (job.strategy == "Full" or job.salt % 3 == 0):
            full = replace(reading_all(job), strategy="Full", finds_less=True)
            world = world.replacing(full)
    return world
