"""Runs of tasks: leases held by workers, and the content computed from the inputs."""

from __future__ import annotations

from collections import defaultdict
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass, field
from random import Random
from uuid import UUID

from engine.model.task import Completion, Lease
from tests.simulation import recompute
from tests.simulation.dimensions import Key, read_text, universe
from tests.simulation.ledger import ChangeScope
from tests.simulation.reports import Content, Gaps, reported
from tests.simulation.rows import Partitions, is_selected, may_hold
from tests.simulation.state import SimulationState
from tests.simulation.world import GROUP, Job, World


@dataclass(eq=False)
class Run:
    """A lease held by a worker; ``content`` is the output, computed after reading."""

    lease: Lease
    job: Job
    world: World
    started: int
    changes: Mapping[str, ChangeScope]
    content: Content | None = None
    newest: int | None = None
    computed: Content = field(default_factory=lambda: defaultdict(dict))
    """The part of ``content`` computed by this run; a job that upserts rows keeps older ones."""
    built_from_edits: set[Key] = field(default_factory=set)
    """Partitions built from edited rows that were invalidated, but not reported as rewritten.

    Rebuilding the input restores the content recorded by the engine, so the engine finds no change.
    """
    gaps: Gaps = field(default_factory=Gaps)


class InputReader:
    """Reads the inputs of runs, and computes their content."""

    def __init__(self, state: SimulationState) -> None:
        self.state = state

    async def content(self, run: Run) -> Content:
        """Read once, at any time; later calls return the same content."""
        if not self.state.world.producers.keys() >= {read.dataset for read in run.job.reads}:
            self.state.log_line(f"inputs of {lease_text(run.lease)} were removed by a deploy")
            return defaultdict(dict)
        if run.content is None:
            self.state.log_line(f"read inputs of {lease_text(run.lease)}")
            existing = _within(run.world, await self.state.existing())
            data = self._followed_rows(run) if run.job.follows else {}
            keys = set(keys_of(run.job, run.lease.partitions))
            if run.job.follows and run.job.space:
                keys |= {(row[GROUP],) for rows in data.values() for row in rows.values()}
            run.content = defaultdict(dict)
            for key in sorted(keys):
                self._make(run, key, data, existing)
                if recompute.reads_any(run.world, run.job, key, existing, self.state.unannounced):
                    run.built_from_edits.add(key)
            if self.state.has_report_gaps:
                run.gaps = Gaps.drawn(Random(f"gaps {self.state.now}"), run.job, run.content)
        return run.content

    def _make(self, run: Run, key: Key, data: Partitions, existing: dict[str, set[Key]]) -> None:
        followed = run.job.reads[0].dataset if run.job.follows else None
        outputs = recompute.make(
            run.world,
            run.job,
            key,
            lambda dataset: data if dataset == followed else self.state.data(dataset),
            existing.__getitem__,
        )
        for dataset in run.lease.outputs:
            before = self.state.warehouse[dataset.name, dataset.version].get(key, {})
            rows = outputs[dataset.name]
            run.content[dataset.name][key] = {**before, **rows} if run.job.append else rows
            run.computed[dataset.name][key] = rows

    def _followed_rows(self, run: Run) -> Partitions:
        """Return the rows named by a lease: newer than the cursor, matching filters, or all."""
        read = run.job.reads[0]
        source = run.world.producers[read.dataset]
        (followed,) = (i for i in run.lease.job.inputs if i.cursor is not None)
        cursor = int(run.lease.cursors.get(followed.dataset, 0))
        data = self.state.data(read.dataset)
        filters = run.lease.row_filters
        self._count_filters(run.lease)

        def is_read(key: Key, n: int, row: dict[str, object]) -> bool:
            return any(
                spec is None
                or (not spec and n > cursor)
                or (spec and may_hold(source.space, key, spec) and is_selected(spec, n, row))
                for spec in filters
            )

        read_now = {
            key: {n: row for n, row in rows.items() if is_read(key, n, row)}
            for key, rows in data.items()
        }
        if not all(filters):
            run.newest = max(_ids(data), default=None)
        elif None not in filters:
            # A run over old rows also reports a cursor, which must not move the stored one.
            run.newest = min((n for n in _ids(read_now) if n <= cursor), default=None)
        return read_now

    def _count_filters(self, lease: Lease) -> None:
        for spec in lease.row_filters:
            label = "filtered rows reread" if spec else "new rows read"
            self.state.counts["all rows reread" if spec is None else label] += 1


def _within(world: World, existing: Mapping[str, set[Key]]) -> dict[str, set[Key]]:
    """Return the partitions within the bounds that a run was claimed with."""
    within = {name: {*universe(job.space)} for name, job in world.producers.items()}
    return {name: existing.get(name, set()) & keys for name, keys in within.items()}


def keys_of(job: Job, texts: Sequence[str]) -> list[Key]:
    """Return the keys named by texts."""
    return [key for text in texts for key in sorted(read_text(job.space, text))]


def lease_text(lease: Lease) -> str:
    """Return a lease as a short text."""
    return f"{lease.job.name}[{','.join(lease.partitions)}]"


def completion_of(run: Run, content: Content) -> Completion:
    cursors: dict[UUID, str] = {}
    if run.newest is not None:
        (followed,) = (i for i in run.lease.job.inputs if i.cursor is not None)
        cursors[followed.dataset] = str(run.newest)
    return Completion(run.lease, reported(run.job, content, run.gaps), cursors)


def _ids(partitions: Partitions) -> Iterator[int]:
    return (n for rows in partitions.values() for n in rows)
