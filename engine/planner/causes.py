"""Which invalidations led where, and so the jobs that each of them affects.

An invalidation is processed when every job that it affects has its tasks, so each is told of all.
"""

from __future__ import annotations

from collections import defaultdict
from collections.abc import Iterator, Sequence
from functools import cache
from uuid import UUID

from engine.model.invalidation import Invalidation

Causes = int
"""A set of invalidations: bit n is the n-th of those being planned."""


class Affected:
    """The jobs that invalidations affect, noted as they are met."""

    def __init__(self, invalidations: Sequence[Invalidation]) -> None:
        # One invalidation may come in several parts, each with a scope of its own.
        ids = dict.fromkeys(invalidation.id for invalidation in invalidations)
        self._bits: dict[UUID, Causes] = {id_: 1 << n for n, id_ in enumerate(ids)}
        self._processed = self._processed_by_job(invalidations)
        self._jobs: defaultdict[Causes, list[UUID]] = defaultdict(list)

    def causes(self, invalidation: Invalidation) -> Causes:
        """The set that holds the one invalidation."""
        return self._bits[invalidation.id]

    def note(self, causes: Causes, job: UUID) -> bool:
        """Note that a job is affected; whether it still has no tasks for one of the causes."""
        self._jobs[causes].append(job)
        return bool(causes & ~self._processed.get(job, 0))

    def by_invalidation(self) -> dict[UUID, frozenset[UUID]]:
        """By invalidation, all jobs that it affects."""
        # Invalidations that were in on the same things share one set of jobs.
        jobs = cache(lambda sets: frozenset().union(*(self._jobs[each] for each in sets)))
        return {
            id_: jobs(tuple(causes for causes in self._jobs if causes & bit))
            for id_, bit in self._bits.items()
        }

    def _processed_by_job(self, invalidations: Sequence[Invalidation]) -> dict[UUID, Causes]:
        """By job, the invalidations for which it has its tasks already."""
        processed: dict[UUID, Causes] = {}
        for invalidation in invalidations:
            for job in invalidation.processed_by:
                processed[job] = processed.get(job, 0) | self._bits[invalidation.id]
        return processed


def members(causes: Causes) -> Iterator[int]:
    """The places in the set, ascending."""
    while causes:
        lowest = causes & -causes
        yield lowest.bit_length() - 1
        causes ^= lowest
