"""Provenance: the invalidations that affect each job.

An invalidation is processed once every affected job has its tasks, so all affected jobs are
recorded.
"""

from __future__ import annotations

from collections import defaultdict
from collections.abc import Iterator, Sequence
from functools import cache
from uuid import UUID

from engine.model.invalidation import Invalidation

InvalidationSet = int
"""Bit set: bit n stands for the n-th of the invalidations being planned."""


class AffectedJobs:
    """Jobs affected by invalidations, recorded while the closure is computed."""

    def __init__(self, invalidations: Sequence[Invalidation]) -> None:
        # An invalidation may have several parts, each with a different scope.
        ids = dict.fromkeys(invalidation.id for invalidation in invalidations)
        self._bits: dict[UUID, InvalidationSet] = {id_: 1 << n for n, id_ in enumerate(ids)}
        self._processed = self._processed_by_job(invalidations)
        self._jobs: defaultdict[InvalidationSet, list[UUID]] = defaultdict(list)

    def set_of(self, invalidation: Invalidation) -> InvalidationSet:
        """Return the set with only this invalidation."""
        return self._bits[invalidation.id]

    def record(self, invalidations: InvalidationSet, job: UUID) -> bool:
        """Record a job as affected; return True if it still lacks tasks for one of them."""
        self._jobs[invalidations].append(job)
        return bool(invalidations & ~self._processed.get(job, 0))

    def by_invalidation(self) -> dict[UUID, frozenset[UUID]]:
        """Return all affected jobs by invalidation."""
        # Invalidations in the same sets share one set of jobs.
        jobs = cache(lambda sets: frozenset().union(*(self._jobs[members] for members in sets)))
        return {
            id_: jobs(tuple(members for members in self._jobs if members & bit))
            for id_, bit in self._bits.items()
        }

    def _processed_by_job(
        self, invalidations: Sequence[Invalidation]
    ) -> dict[UUID, InvalidationSet]:
        """Return by job the invalidations for which the job already has tasks."""
        processed: dict[UUID, InvalidationSet] = {}
        for invalidation in invalidations:
            for job in invalidation.processed_by:
                processed[job] = processed.get(job, 0) | self._bits[invalidation.id]
        return processed


def indexes(invalidations: InvalidationSet) -> Iterator[int]:
    """Yield the indexes of the invalidations in the set, ascending."""
    while invalidations:
        lowest = invalidations & -invalidations
        yield lowest.bit_length() - 1
        invalidations ^= lowest
