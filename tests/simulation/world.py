"""A world as plain values: datasets cut in partitions, and jobs that read and make them.

Here stands what the engine is held against, so it shares no code with it.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from functools import cached_property

from tests.simulation.dimensions import Space
from tests.simulation.mapping import Read

Columns = frozenset[str] | None
"""Columns of a dataset; None: all of them, and the rows too."""
Values = frozenset[str] | None
"""Values of ``g`` that the rows have which are meant; None: any."""

EVERY = "*"
ADDED = "w"
"""The column that deploys add to sources and remove again."""
GROUP = "g"
"""The column that rows are grouped by, where a dataset has one."""


@dataclass(frozen=True)
class Output:
    """``lineage``: output column or '*' → (dataset, column)s; None: nothing is said."""

    name: str
    columns: tuple[str, ...]
    lineage: tuple[tuple[str, tuple[tuple[str, str], ...]], ...] | None = None

    @cached_property
    def told(self) -> dict[str, tuple[tuple[str, str], ...]] | None:
        return None if self.lineage is None else dict(self.lineage)

    def reads(self, dataset: str, column: str) -> Columns:
        """The columns of an input that one column of this output comes from, by what is said."""
        if not self._speaks_of(dataset):
            return None
        pairs = (*self.told.get(column, ()), *self.told.get(EVERY, ()))
        return frozenset(c for d, c in pairs if d == dataset)

    def dirtied(self, dataset: str, dirty: Columns) -> Columns:
        """The columns that may come out otherwise when those of an input are dirty."""
        if dirty is None or not self._speaks_of(dataset):
            return None
        hit = {
            to for to, pairs in self.told.items() for d, c in pairs if d == dataset and c in dirty
        }
        return None if EVERY in hit else frozenset(hit)

    def _speaks_of(self, dataset: str) -> bool:
        said = self.told or {}
        return any(d == dataset for pairs in said.values() for d, _ in pairs)


@dataclass(frozen=True)
class Job:
    """A source when it reads nothing. Its values are hashes modulo ``coarse``: few come out new.

    ``kind`` says what it makes: one row of all that a partition reads (``fold``); for each row of
    its first input one of the same id (``rows``), which may look at its neighbours (``window``).
    ``grows``: the rows of a source are added and edited, but never go, nor leave their group.
    ``finds_less``: whether a partition has anything in it depends on what is read.
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
    coarse: int = 1_000_003
    per_task: int = 1
    max_attempts: int = 3
    cap: int | None = None
    tells_columns: bool = True
    grows: bool = False
    is_manual: bool = False
    finds_less: bool = False
    alphabet: tuple[str, ...] = ("A", "B", "C")

    @property
    def is_source(self) -> bool:
        return not self.reads

    @property
    def is_single_run(self) -> bool:
        """Whether it makes everything in one go."""
        return self.strategy != "PerPartition"

    @property
    def follows(self) -> bool:
        return self.strategy == "PerUpdate"

    @property
    def has_rows(self) -> bool:
        """Whether what it makes has rows with ids of their own."""
        return self.is_source or self.kind != "fold"

    @property
    def writes_with_its_completion(self) -> bool:
        """Whether it is an SQL job: an attempt that does not complete leaves nothing behind.

        Its lineage is declared, since nothing is to be derived from its SQL.
        """
        is_declared = all(output.lineage is not None for output in self.outputs)
        return not self.is_source and is_declared and self.salt % 5 < 2

    @property
    def priority(self) -> int:
        return self.salt % 3

    def keeps_rows_apart(self, read: Read) -> bool:
        """Whether rows of different groups stay different rows of theirs on their way through."""
        return self.kind == "rows" and read == self.reads[0] and GROUP in self.outputs[0].columns


@dataclass(frozen=True)
class World:
    """Jobs, parents first."""

    jobs: tuple[Job, ...]

    @cached_property
    def by_name(self) -> dict[str, Job]:
        return {job.name: job for job in self.jobs}

    @cached_property
    def makers(self) -> dict[str, Job]:
        """By dataset, the job that makes it."""
        return {output.name: job for job in self.jobs for output in job.outputs}

    @property
    def sources(self) -> list[Job]:
        return [job for job in self.jobs if job.is_source]

    @property
    def made(self) -> list[Job]:
        return [job for job in self.jobs if not job.is_source]

    @property
    def dags(self) -> list[str]:
        return sorted({job.dag for job in self.jobs})

    def readers(self, dataset: str) -> list[Job]:
        return [job for job in self.jobs if any(read.dataset == dataset for read in job.reads)]

    def leaves(self) -> list[Job]:
        """Jobs that nobody reads."""
        read = {read.dataset for job in self.jobs for read in job.reads}
        return [job for job in self.jobs if read.isdisjoint(o.name for o in job.outputs)]

    def without(self, name: str) -> World:
        return World(tuple(job for job in self.jobs if job.name != name))

    def replacing(self, job: Job) -> World:
        return World(tuple(job if each.name == job.name else each for each in self.jobs))

    def with_dag(self, dag: str, other: World) -> World:
        """With a DAG as another world has it."""
        jobs = [job for job in self.jobs if job.dag != dag]
        jobs += [job for job in other.jobs if job.dag == dag]
        return World(parents_first(jobs))


def parents_first(jobs: Sequence[Job]) -> tuple[Job, ...]:
    """Sort jobs so that each comes after those that make what it reads."""
    made_here = {output.name for job in jobs for output in job.outputs}
    ordered: list[Job] = []
    made: set[str] = set()
    while len(ordered) < len(jobs):
        ready = [
            job
            for job in jobs
            if job not in ordered and {read.dataset for read in job.reads} & made_here <= made
        ]
        ordered += ready
        made |= {output.name for job in ready for output in job.outputs}
    return tuple(ordered)
