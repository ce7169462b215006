"""Trials of a seed: in memory, and for some seeds also on real tables or parallel processes."""

from __future__ import annotations

from collections.abc import Iterator

from tests.simulation.parallel.trial import ParallelTrial
from tests.simulation.tables.trial import TableTrial
from tests.simulation.trial import Trial

AnyTrial = Trial | TableTrial | ParallelTrial

_ADDITIONAL = {
    3: Trial.of_failures,
    5: Trial.of_fingerprints,
    9: Trial.of_schedules,
    13: Trial.of_deploys,
    15: Trial.of_chains,
}
"""Kinds of additional worlds, by the remainder of the seed divided by 20."""


def trials_of(seed: int) -> Iterator[AnyTrial]:
    """Yield the trials of a seed.

    One seed in five adds a world of real tables, another one in five a world of more grids, another
    one a world in which windows begin and end. One in twenty adds a world of each of a few kinds,
    and one in forty a world of parallel processes. The additional worlds use separate random
    generators, so the first world of a seed never changes.
    """
    yield Trial.of(seed)
    if seed % 5 == 2:
        yield TableTrial.of(seed)
    if seed % 5 == 4:
        yield Trial.of_grids(seed)
    if seed % 5 == 1:
        yield Trial.in_time(seed)
    if additional := _ADDITIONAL.get(seed % 20):
        yield additional(seed)
    if seed % 40 == 17:
        yield ParallelTrial.of(seed)
