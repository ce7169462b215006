"""The trials of a seed: one with data in memory, and for some seeds others beside it."""

from __future__ import annotations

from collections.abc import Iterator

from tests.simulation.parallel.trial import ParallelTrial
from tests.simulation.tables.trial import TableTrial
from tests.simulation.trial import Trial

AnyTrial = Trial | TableTrial | ParallelTrial


def trials_of(seed: int) -> Iterator[AnyTrial]:
    """Yield the trials of a seed.

    One of five seeds has a world of real tables, and one of forty a world of parallel processes.
    They have seeds of their own, so that they change no other world.
    """
    yield Trial.of(seed)
    if seed % 5 == 2:
        yield TableTrial.of(seed)
    if seed % 40 == 17:
        yield ParallelTrial.of(seed)
