"""The partitions known to exist, which the planner asks for only where a scope has no end.

The planner is pure, so it cannot look: an answer that is not at hand is a signal to whoever can.
"""

from __future__ import annotations

from collections.abc import Callable, Iterable, Mapping
from uuid import UUID

from engine.partitions import PartitionSet

Known = Callable[[UUID], PartitionSet]
"""The partitions of a dataset that are materialised, or that open tasks are about to make."""


class KnownNeeded(Exception):
    """Load the known partitions of these datasets and plan again."""

    def __init__(self, datasets: Iterable[UUID]) -> None:
        self.datasets = frozenset(datasets)
        super().__init__(f"the known partitions of {len(self.datasets)} datasets are needed")


def prefetched(loaded: Mapping[UUID, PartitionSet]) -> Known:
    """Answer from what is loaded; raise KnownNeeded for what is not."""

    def known(dataset: UUID) -> PartitionSet:
        if dataset not in loaded:
            raise KnownNeeded([dataset])
        return loaded[dataset]

    return known
