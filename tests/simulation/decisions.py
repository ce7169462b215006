"""Partitions left stale by an operator's decision, or edited by hand."""

from __future__ import annotations

from collections import defaultdict
from collections.abc import Iterable, Iterator

from tests.simulation.dimensions import Key, universe
from tests.simulation.world import Job, World


class Decisions:
    """Excuse partitions until a run started after the decision completes.

    When partitions in ``unverified`` change, the engine may invalidate their readers in full, since
    no recorded state allows a comparison.
    """

    def __init__(self) -> None:
        self.unverified: defaultdict[str, set[Key]] = defaultdict(set)
        self._left: defaultdict[str, dict[Key, int]] = defaultdict(dict)
        self._made_during_last_run: set[str] = set()

    def leave(self, job: Job, keys: Iterable[Key], time: int) -> None:
        """Record partitions left stale by decision, or edited by hand."""
        self.built_from_edits(job, keys, time)
        for output in job.outputs:
            self.unverified[output.name] |= {*universe(job.space)} if job.is_single_run else {*keys}

    def built_from_edits(self, job: Job, keys: Iterable[Key], time: int) -> None:
        """Record partitions built from an edit not yet announced to their job by an event."""
        left = {*universe(job.space)} if job.is_single_run else {*keys}
        self._left[job.name].update(dict.fromkeys(left, time))

    def run_completed(self, job: Job, keys: Iterable[Key], started: int) -> None:
        """Record a completed run that read the current state of all its inputs."""
        left = self._left[job.name]
        self._made_during_last_run.discard(job.name)
        for key in [*left] if job.is_single_run else [*keys]:
            if left.get(key, started) < started:
                del left[key]
            elif key in left:
                self._made_during_last_run.add(job.name)

    def leaves_rows_unread(self, job: Job) -> bool:
        """Return True if the last run that read all rows may have started before a rejected change.

        Later runs for some rows may have read the change or not. The engine does not know the rows
        that a run has read, and lets the next one for all rows read them again.
        """
        return job.follows and bool(job.name in self._made_during_last_run or self._left[job.name])

    def rebuild_requested(self, job: Job, keys: Iterable[Key] | None) -> None:
        """Record a request to recompute the given or all partitions, which ends their exemption."""
        left = self._left[job.name]
        for key in [*left] if keys is None or job.is_single_run else [*keys]:
            left.pop(key, None)

    def excused(self, job: Job) -> set[Key]:
        return {*self._left[job.name]}

    def outstanding(self, world: World) -> Iterator[tuple[Job, set[Key]]]:
        """Iterate over jobs with excused partitions."""
        for job in world.derived_jobs:
            if self._left[job.name]:
                yield job, self.excused(job)

    def forget(self, name: str, gone: Iterable[Key]) -> None:
        """Drop the decisions on partitions that a deploy has removed from a job."""
        for key in gone:
            self._left[name].pop(key, None)

    def drop(self, names: Iterable[str]) -> None:
        """Drop the decisions on jobs rebuilt from scratch by a deploy."""
        for name in names:
            self._left.pop(name, None)
