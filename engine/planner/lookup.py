"""Lookup of the partitions of a dataset, used by the planner only for open-ended scopes.

The planner is pure and cannot load data: a missing answer is a signal to the caller.
"""

from __future__ import annotations

from collections.abc import Callable, Iterable, Mapping
from uuid import UUID

from engine.partitions import PartitionSet

PartitionLookup = Callable[[UUID], PartitionSet]
"""Function that returns partitions of a dataset; the caller decides which.

A plan is made from the *known* partitions, which exist or which open tasks will build; inputs of
runs and first runs are determined from the *existing* partitions alone.
"""


class MissingState(Exception):
    """Signal to load the partitions of datasets and ask again."""

    def __init__(self, datasets: Iterable[UUID]) -> None:
        self.datasets = frozenset(datasets)
        super().__init__(f"the partitions of {len(self.datasets)} datasets are needed")


def lookup_in(loaded: Mapping[UUID, PartitionSet]) -> PartitionLookup:
    """Look up loaded partitions; raise MissingState for datasets not loaded."""

    def look_up(dataset: UUID) -> PartitionSet:
        if dataset not in loaded:
            raise MissingState([dataset])
        return loaded[dataset]

    return look_up
