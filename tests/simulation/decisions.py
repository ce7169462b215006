"""Partitions that stay stale because somebody decided so, or whose content somebody edited."""

from __future__ import annotations

from collections import defaultdict
from collections.abc import Iterable, Iterator

from tests.simulation.dimensions import Key, universe
from tests.simulation.world import Job, World


class Decisions:
    """Excuse partitions until a run that begins after the decision has completed.

    ``unverified`` are the partitions whose readers the engine may invalidate in full when they
    change: nothing recorded says how they differ.
    """

    def __init__(self) -> None:
        self.unverified: defaultdict[str, set[Key]] = defaultdict(set)
        self._left: defaultdict[str, dict[Key, int]] = defaultdict(dict)

    def leave(self, job: Job, keys: Iterable[Key], time: int) -> None:
        """Record that the partitions of a job are stale by decision, or no longer its own work."""
        self.misled(job, keys, time)
        for output in job.outputs:
            self.unverified[output.name] |= {*universe(job.space)} if job.is_single_run else {*keys}

    def misled(self, job: Job, keys: Iterable[Key], time: int) -> None:
        """Record partitions built from an edit that no event has announced to their job."""
        left = {*universe(job.space)} if job.is_single_run else {*keys}
        self._left[job.name].update(dict.fromkeys(left, time))

    def made(self, job: Job, keys: Iterable[Key], begun: int) -> None:
        """Record a completed run that read everything its partitions are made of."""
        left = self._left[job.name]
        for key in [*left] if job.is_single_run else [*keys]:
            if left.get(key, begun) < begun:
                del left[key]

    def called_for(self, job: Job, keys: Iterable[Key] | None) -> None:
        """Record an order to recompute these partitions, or all: nothing excuses them any more."""
        left = self._left[job.name]
        for key in [*left] if keys is None or job.is_single_run else [*keys]:
            left.pop(key, None)

    def excused(self, job: Job) -> set[Key]:
        """Return the partitions that may differ from a recompute."""
        return {*self._left[job.name]}

    def outstanding(self, world: World) -> Iterator[tuple[Job, set[Key]]]:
        """Iterate over the jobs that have such partitions."""
        for job in world.made:
            if self._left[job.name]:
                yield job, self.excused(job)

    def forget(self, names: Iterable[str]) -> None:
        """Drop the decisions on jobs that a deploy builds from scratch."""
        for name in names:
            self._left.pop(name, None)
