"""Partitions known to exist, requested by the planner only for open-ended scopes.

The planner is pure and cannot load data: a missing answer is a signal to the caller.
"""

from __future__ import annotations

from collections.abc import Callable, Iterable, Mapping
from uuid import UUID

from engine.partitions import PartitionSet

Known = Callable[[UUID], PartitionSet]
"""Function that returns the partitions of a dataset that exist or that open tasks will build."""


class KnownNeeded(Exception):
    """Signal to load the known partitions of datasets and plan again."""

    def __init__(self, datasets: Iterable[UUID]) -> None:
        self.datasets = frozenset(datasets)
        super().__init__(f"the known partitions of {len(self.datasets)} datasets are needed")


def prefetched(loaded: Mapping[UUID, PartitionSet]) -> Known:
    """Answer from loaded partitions; raise KnownNeeded for datasets not loaded."""

    def known(dataset: UUID) -> PartitionSet:
        if dataset not in loaded:
            raise KnownNeeded([dataset])
        return loaded[dataset]

    return known
