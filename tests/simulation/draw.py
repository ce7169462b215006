"""Trials of a seed: in memory, and for some seeds also on real tables or parallel processes."""

from __future__ import annotations

from collections.abc import Iterator

from tests.simulation.parallel.trial import ParallelTrial
from tests.simulation.tables.trial import TableTrial
from tests.simulation.trial import Trial

AnyTrial = Trial | TableTrial | ParallelTrial


def trials_of(seed: int) -> Iterator[AnyTrial]:
    """Yield the trials of a seed.

    One seed in five adds a world of real tables, another one in five a world of more grids, another
    one a world in which windows begin and end. One in twenty adds a world in which jobs ignore
    failures, another one a world in which jobs read their own output, another one a world in which
    events have fingerprints, and another one a world with schedules. One in forty adds a world of parallel processes. The additional
    worlds use separate random generators, so the first world of a seed never changes.
    """
    yield Trial.of(seed)
    if seed % 5 == 2:
        yield TableTrial.of(seed)
    if seed % 5 == 4:
        yield Trial.of_grids(seed)
    if seed % 5 == 1:
        yield Trial.in_time(seed)
    if seed % 20 == 3:
        yield Trial.of_failures(seed)
    if seed % 20 == 5:
        yield Trial.of_fingerprints(seed)
    if seed % 20 == 9:
        yield Trial.of_schedules(seed)
    if seed % 20 == 15:
        yield Trial.of_chains(seed)
    if seed % 40 == 17:
        yield ParallelTrial.of(seed)
