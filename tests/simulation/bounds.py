"""Partitions that leave and enter datasets by changed bounds and key lists, and their readers."""

from __future__ import annotations

from collections.abc import Collection, Mapping
from dataclasses import dataclass

from tests.simulation.dimensions import Key, text, universe
from tests.simulation.ledger import Declared
from tests.simulation.mapping import Read, needed
from tests.simulation.state import SimulationState
from tests.simulation.world import Job, World

Existing = Mapping[str, Collection[Key]]


def declare_bounds(
    state: SimulationState, before: World, replaced: Collection[str], existing: Existing
) -> None:
    """Forget partitions that have left kept datasets, and declare outputs that have read any.

    ``existing`` are the partitions that existed, or were planned, before the deploy.
    """
    for job in state.world.jobs:
        was = before.by_name.get(job.name)
        if was is None or job.outputs[0].name in replaced:
            continue
        gone = {*universe(was.space)} - {*universe(job.space)}
        for output in job.outputs:
            version = state.versions[output.name]
            state.removed |= {f"{version} {text(was.space, key)}" for key in gone}
        if job.is_source:
            continue
        comparison = _Comparison(before, state.world, was, job, existing)
        wrong = comparison.reading_otherwise()
        name = job.outputs[0].name
        state.ledger.wrong[name] += [Declared(state.now, key, None) for key in sorted(wrong)]
        if gone:
            _forget(state, job, gone)
        has_entered = not {*universe(job.space)} <= {*universe(was.space)}
        if (gone and job.per_task > 1) or (job.is_single_run and (gone or has_entered)):
            # The other partitions of a canceled task are built again, and a single run builds all.
            state.ledger.wrong[name].append(Declared(state.now, None, None))


@dataclass
class _Comparison:
    """The inputs of a job before and after a deploy."""

    before: World
    now: World
    was: Job
    job: Job
    existing: Existing

    def reading_otherwise(self) -> set[Key | None]:
        """Return the partitions that read others than before; None stands for a single run."""
        shared = {*universe(self.was.space)} & {*universe(self.job.space)}
        affected = {
            key
            for read in self.job.reads
            if self._has_other_partitions(read.dataset)
            for key in shared
            if self._reads_otherwise(read, key)
        }
        return {None} if affected and self.job.is_single_run else {*affected}

    def _has_other_partitions(self, dataset: str) -> bool:
        source = self.before.producers.get(dataset)
        return source is not None and source.space != self.now.producers[dataset].space

    def _reads_otherwise(self, read: Read, key: Key) -> bool:
        source, source_now = (world.producers[read.dataset] for world in (self.before, self.now))
        existing = {*self.existing[read.dataset]}
        remaining = existing & {*universe(source_now.space)}
        if source.is_source:  # rows of partitions that no event has named are read as well
            existing = _with_same_last(read, source, existing)
            remaining = _with_same_last(read, source_now, remaining)
        read_now = needed(read, source_now.space, self.job.space, key, remaining)
        # Partitions that enter the bounds are read once they are built.
        read_now &= {*universe(source.space)}
        return needed(read, source.space, self.was.space, key, existing) != read_now


def _with_same_last(read: Read, source: Job, existing: set[Key]) -> set[Key]:
    """Return the possible partitions, up to the last existing key if only that key is read."""
    possible = {*universe(source.space)}
    if read.latest is None or not existing:
        return possible
    i, grid = read.latest, source.space[read.latest].grid
    last = max(grid.index(key[i]) for key in existing)
    return {key for key in possible if grid.index(key[i]) <= last}


def _forget(state: SimulationState, job: Job, gone: set[Key]) -> None:
    """Drop the partitions from everything recorded about a job's outputs."""
    for output in job.outputs:
        version = state.versions[output.name]
        for key in gone:
            state.warehouse[output.name, version].pop(key, None)
            state.ledger.last_runs.pop((version, key), None)
        for keys in (
            state.edited[output.name],
            state.partial_writes[output.name],
            state.unannounced[output.name],
            state.decisions.unverified[output.name],
            state.ledger.rewritten[output.name],
            state.possible[output.name],
        ):
            keys -= gone
    state.decisions.forget(job.name, gone)
