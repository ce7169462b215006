"""Track the invalidations that affect each job.

An invalidation is processed once every affected job has its tasks, so all affected jobs are
recorded.
"""

from __future__ import annotations

from collections import defaultdict
from collections.abc import Iterator, Sequence
from functools import cache
from uuid import UUID

from engine.model.invalidation import Invalidation

Causes = int
"""Set of invalidations: bit n is the n-th of those being planned."""


class Affected:
    """Jobs affected by invalidations, recorded during the walk."""

    def __init__(self, invalidations: Sequence[Invalidation]) -> None:
        # An invalidation may have several parts, each with a different scope.
        ids = dict.fromkeys(invalidation.id for invalidation in invalidations)
        self._bits: dict[UUID, Causes] = {id_: 1 << n for n, id_ in enumerate(ids)}
        self._processed = self._processed_by_job(invalidations)
        self._jobs: defaultdict[Causes, list[UUID]] = defaultdict(list)

    def causes(self, invalidation: Invalidation) -> Causes:
        """Return the set with only this invalidation."""
        return self._bits[invalidation.id]

    def note(self, causes: Causes, job: UUID) -> bool:
        """Record a job as affected; return True if it still lacks tasks for one of the causes."""
        self._jobs[causes].append(job)
        return bool(causes & ~self._processed.get(job, 0))

    def by_invalidation(self) -> dict[UUID, frozenset[UUID]]:
        """Return all affected jobs by invalidation."""
        # Invalidations in the same cause sets share one set of jobs.
        jobs = cache(lambda sets: frozenset().union(*(self._jobs[each] for each in sets)))
        return {
            id_: jobs(tuple(causes for causes in self._jobs if causes & bit))
            for id_, bit in self._bits.items()
        }

    def _processed_by_job(self, invalidations: Sequence[Invalidation]) -> dict[UUID, Causes]:
        """Return by job the invalidations for which the job already has tasks."""
        processed: dict[UUID, Causes] = {}
        for invalidation in invalidations:
            for job in invalidation.processed_by:
                processed[job] = processed.get(job, 0) | self._bits[invalidation.id]
        return processed


def members(causes: Causes) -> Iterator[int]:
    """Yield the indexes in the set, ascending."""
    while causes:
        lowest = causes & -causes
        yield lowest.bit_length() - 1
        causes ^= lowest
