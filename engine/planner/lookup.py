"""Lookup of the partitions of a dataset, used by the planner only where they matter.

The planner is pure and cannot load data: a missing answer is a signal to the caller.
"""

from __future__ import annotations

from collections.abc import Callable, Iterable, Mapping
from dataclasses import dataclass, field
from typing import Protocol
from uuid import UUID

from engine.partitions import PartitionSet

MOST_LOOKED_UP = 1_000
"""Partitions looked up one by one, at once; for more, all keys of a dataset are read."""


class PartitionLookup(Protocol):
    """Function that returns partitions of a dataset; the caller decides which.

    A plan is made from the *known* partitions, which exist or which open tasks will build; inputs
    of runs and first runs are determined from the *existing* partitions alone.
    """

    def __call__(self, dataset: UUID, /) -> PartitionSet:
        """Return all of them."""

    def among(self, dataset: UUID, wanted: PartitionSet, /) -> PartitionSet:
        """Return those in a set; a small set is looked up without reading all keys."""

    def unfinished(self, dataset: UUID, /) -> PartitionSet:
        """Return the partitions that unfinished tasks are to build."""


Among = Callable[[UUID, PartitionSet], PartitionSet]
"""Function that returns those partitions of a dataset that are in a set."""


class MissingState(Exception):
    """Signal to load the partitions of datasets, all or those in a set, and ask again.

    For ``unfinished``, those of unfinished tasks are missing.
    """

    def __init__(
        self,
        datasets: Iterable[UUID],
        parts: Mapping[UUID, PartitionSet] | None = None,
        unfinished: Iterable[UUID] = (),
    ) -> None:
        self.datasets = frozenset(datasets)
        self.parts = parts or {}
        self.unfinished = frozenset(unfinished)
        count = len(self.datasets | self.parts.keys() | self.unfinished)
        super().__init__(f"the partitions of {count} datasets are needed")


@dataclass(slots=True)
class LoadedPartitions:
    """Partitions of datasets loaded so far: all, or the asked ones with those found among them."""

    whole: dict[UUID, PartitionSet] = field(default_factory=dict)
    parts: dict[UUID, tuple[PartitionSet, PartitionSet]] = field(default_factory=dict)
    of_tasks: dict[UUID, PartitionSet] = field(default_factory=dict)

    def __call__(self, dataset: UUID, /) -> PartitionSet:
        """See `PartitionLookup`; raises MissingState for datasets not loaded."""
        if dataset not in self.whole:
            raise MissingState([dataset])
        return self.whole[dataset]

    def among(self, dataset: UUID, wanted: PartitionSet, /) -> PartitionSet:
        """See `PartitionLookup`; raises MissingState for partitions not loaded."""
        if dataset in self.whole or not (wanted.is_finite and wanted.count() <= MOST_LOOKED_UP):
            return self(dataset) & wanted
        asked, found = self.parts.get(dataset, (wanted.space.empty, wanted.space.empty))
        if not asked.covers(wanted):
            raise MissingState((), {dataset: wanted})
        return found & wanted

    def unfinished(self, dataset: UUID, /) -> PartitionSet:
        """See `PartitionLookup`; raises MissingState for datasets not loaded."""
        if dataset not in self.of_tasks:
            raise MissingState((), unfinished=[dataset])
        return self.of_tasks[dataset]

    def add_part(self, dataset: UUID, wanted: PartitionSet, found: PartitionSet) -> None:
        """Add partitions found among some of a dataset."""
        asked, before = self.parts.get(dataset, (wanted.space.empty, wanted.space.empty))
        self.parts[dataset] = asked | wanted, before | (found & wanted)


def lookup_in(
    loaded: Mapping[UUID, PartitionSet], of_tasks: Mapping[UUID, PartitionSet] | None = None
) -> PartitionLookup:
    """Look up loaded partitions; raise MissingState for datasets not loaded."""
    return LoadedPartitions(dict(loaded), of_tasks=dict(of_tasks or {}))
