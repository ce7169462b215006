"""Existing partitions, requested by the planner only for open-ended scopes.

The planner is pure and cannot load data: a missing answer is a signal to the caller.
"""

from __future__ import annotations

from collections.abc import Callable, Iterable, Mapping
from uuid import UUID

from engine.partitions import PartitionSet

ExistingPartitions = Callable[[UUID], PartitionSet]
"""Function that returns the partitions of a dataset that exist or that open tasks will build."""


class MissingState(Exception):
    """Signal to load the existing partitions of datasets and plan again."""

    def __init__(self, datasets: Iterable[UUID]) -> None:
        self.datasets = frozenset(datasets)
        super().__init__(f"the existing partitions of {len(self.datasets)} datasets are needed")


def existing_from(loaded: Mapping[UUID, PartitionSet]) -> ExistingPartitions:
    """Answer from loaded partitions; raise MissingState for datasets not loaded."""

    def existing(dataset: UUID) -> PartitionSet:
        if dataset not in loaded:
            raise MissingState([dataset])
        return loaded[dataset]

    return existing
