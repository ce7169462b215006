"""A world as plain values: partitioned datasets, and jobs that read and produce them.

The engine is compared with this model, so no code is shared with it.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from functools import cached_property

from tests.simulation.dimensions import Space
from tests.simulation.mapping import Read

Columns = frozenset[str] | None
"""Columns of a dataset; None: all columns and also rows."""
Values = frozenset[str] | None
"""Values of ``g`` in the selected rows; None: any."""

EVERY = "*"
ADDED = "w"
"""Column added to sources, and removed again, by deploys."""
GROUP = "g"
"""Grouping column, in datasets with groups of rows."""

APPEARANCES: tuple[str | int, ...] = (*["start"] * 5, "end", 21_600, "always")
"""Times at which partitions come into being, frequent ones repeated."""


@dataclass(frozen=True)
class Output:
    """An output; ``lineage`` maps columns or '*' to (dataset, column) pairs. None: not declared."""

    name: str
    columns: tuple[str, ...]
    lineage: tuple[tuple[str, tuple[tuple[str, str], ...]], ...] | None = None

    @cached_property
    def lineage_by_column(self) -> dict[str, tuple[tuple[str, str], ...]] | None:
        return None if self.lineage is None else dict(self.lineage)

    def reads(self, dataset: str, column: str) -> Columns:
        """Return the input columns from which an output column derives, by declaration."""
        if not self._declares_lineage_of(dataset):
            return None
        pairs = (*self.lineage_by_column.get(column, ()), *self.lineage_by_column.get(EVERY, ()))
        return frozenset(c for d, c in pairs if d == dataset)

    def affected_columns(self, dataset: str, dirty: Columns) -> Columns:
        """Return the output columns that may change with the given columns of an input."""
        if dirty is None or not self._declares_lineage_of(dataset):
            return None
        affected = {
            to
            for to, pairs in self.lineage_by_column.items()
            for d, c in pairs
            if d == dataset and c in dirty
        }
        return None if EVERY in affected else frozenset(affected)

    def _declares_lineage_of(self, dataset: str) -> bool:
        declared = self.lineage_by_column or {}
        return any(d == dataset for pairs in declared.values() for d, _ in pairs)


@dataclass(frozen=True)
class Job:
    """A job, or a source if it has no reads.

    Values are hashes modulo ``modulus``: with a small modulus few change. ``kind``: a single row
    computed from everything a partition reads (``fold``), or a row for each row of the first input,
    with the same id (``rows``), possibly depending on neighboring rows (``window``). ``grows``:
    rows of a source are inserted and updated, but never deleted or regrouped. ``may_be_empty``:
    depending on its inputs, a partition may be empty. ``appears``: as in a DAG file, or a number of
    seconds after the end of the window. ``is_debounced``: the invalidations of the outputs are
    gathered. ``is_fingerprinted``: events describe the data of a source by fingerprints, and arrive
    in the order of the changes. ``covers``: windows of a source that count as changed every day, by
    offsets from the one that contains the time.
    """

    name: str
    dag: str
    space: Space
    outputs: tuple[Output, ...]
    reads: tuple[Read, ...] = ()
    strategy: str = "PerPartition"
    kind: str = "fold"
    append: bool = False
    salt: int = 0
    modulus: int = 1_000_003
    per_task: int = 1
    max_attempts: int = 3
    max_concurrency: int | None = None
    declares_columns: bool = True
    grows: bool = False
    is_manual: bool = False
    may_be_empty: bool = False
    appears: str | int = "start"
    is_debounced: bool = False
    is_fingerprinted: bool = False
    covers: tuple[int, int] | None = None
    alphabet: tuple[str, ...] = ("A", "B", "C")

    @property
    def is_source(self) -> bool:
        return not self.reads

    @property
    def is_single_run(self) -> bool:
        """Return whether all partitions are built in a single run."""
        return self.strategy != "PerPartition"

    @property
    def follows(self) -> bool:
        return self.strategy == "PerUpdate"

    @property
    def own_read(self) -> Read | None:
        """Return the read of earlier partitions of the job's own output, if it has one."""
        names = {output.name for output in self.outputs}
        return next((read for read in self.reads if read.dataset in names), None)

    @property
    def upstream_reads(self) -> tuple[Read, ...]:
        """Return the reads of other jobs' outputs, which alone determine the partitions."""
        own = self.own_read
        return self.reads if own is None else tuple(r for r in self.reads if r != own)

    @property
    def has_rows(self) -> bool:
        """Return whether output rows have ids."""
        return self.is_source or self.kind != "fold"

    @property
    def writes_atomically(self) -> bool:
        """Return whether an SQL job is simulated: an incomplete attempt leaves no writes behind.

        Lineage is declared, since none can be derived from the SQL of simulated jobs.
        """
        is_declared = all(output.lineage is not None for output in self.outputs)
        return not self.is_source and is_declared and self.salt % 5 < 2

    @property
    def priority(self) -> int:
        return self.salt % 3

    def preserves_groups(self, read: Read) -> bool:
        """Return whether rows of different groups remain separate in the output."""
        return self.kind == "rows" and read == self.reads[0] and GROUP in self.outputs[0].columns


@dataclass(frozen=True)
class World:
    """Jobs in topological order."""

    jobs: tuple[Job, ...]

    @cached_property
    def by_name(self) -> dict[str, Job]:
        return {job.name: job for job in self.jobs}

    @cached_property
    def producers(self) -> dict[str, Job]:
        """Return the producing jobs by dataset."""
        return {output.name: job for job in self.jobs for output in job.outputs}

    @property
    def sources(self) -> list[Job]:
        return [job for job in self.jobs if job.is_source]

    @property
    def derived_jobs(self) -> list[Job]:
        return [job for job in self.jobs if not job.is_source]

    @property
    def dags(self) -> list[str]:
        return sorted({job.dag for job in self.jobs})

    def readers(self, dataset: str) -> list[Job]:
        return [job for job in self.jobs if any(read.dataset == dataset for read in job.reads)]

    def leaves(self) -> list[Job]:
        """Return the jobs without readers."""
        read = {read.dataset for job in self.jobs for read in job.upstream_reads}
        return [job for job in self.jobs if read.isdisjoint(o.name for o in job.outputs)]

    def without(self, name: str) -> World:
        return World(tuple(job for job in self.jobs if job.name != name))

    def replacing(self, job: Job) -> World:
        return World(tuple(job if other.name == job.name else other for other in self.jobs))

    def with_dag(self, dag: str, other: World) -> World:
        """Return a copy with a DAG as defined in another world."""
        jobs = [job for job in self.jobs if job.dag != dag]
        jobs += [job for job in other.jobs if job.dag == dag]
        return World(topological_order(jobs))


def topological_order(jobs: Sequence[Job]) -> tuple[Job, ...]:
    """Sort jobs topologically."""
    produced_here = {output.name for job in jobs for output in job.outputs}
    ordered: list[Job] = []
    produced: set[str] = set()
    while len(ordered) < len(jobs):
        ready = [
            job
            for job in jobs
            if job not in ordered
            and {read.dataset for read in job.upstream_reads} & produced_here <= produced
        ]
        ordered += ready
        produced |= {output.name for job in ready for output in job.outputs}
    return tuple(ordered)
