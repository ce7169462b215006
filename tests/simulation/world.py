"""A world as plain values: datasets cut in partitions, and jobs that read and make them.

Here stands what the engine is held against, so it shares no code with it: a dimension is a list of
keys, a mapping is a table of which key meets which, and windows come from plain datetime.
"""

from __future__ import annotations

import itertools
from collections.abc import Collection, Iterable, Iterator
from dataclasses import dataclass, field
from datetime import date
from functools import cache, cached_property
from typing import Any

from tests.property.partitions.windows import windows

Key = tuple[str, ...]
"""One text for each dimension."""
Columns = frozenset[str] | None
"""Columns of a dataset; None: all of them, and the rows too."""

EVERY = "*"
_BUCKETS = 40


@dataclass(frozen=True)
class Dimension:
    """``bounds`` are places on the grid, half-open; None leaves that end open."""

    name: str
    kind: str
    grain: str = ""
    zone: str = "UTC"
    anchor: date = date(2013, 1, 1)
    size: int = 0
    keys: tuple[str, ...] = ()
    bounds: tuple[int | None, int | None] = (None, None)

    @property
    def is_finite(self) -> bool:
        return self.kind == "static" or (self.is_ordered and None not in self.bounds)

    @property
    def is_ordered(self) -> bool:
        return self.kind in ("time", "range")

    @property
    def universe(self) -> tuple[str, ...]:
        """The keys it may have; without an end, those that a short history can come to."""
        return self.grid[slice(*self.bounds)]

    @property
    def grid(self) -> tuple[str, ...]:
        return _grid(self)

    def span(self, place: int) -> tuple[Any, Any]:
        """Where the window at a place of the grid starts and ends."""
        if self.kind == "time":
            window = windows(self.grain, self.zone, self.anchor)[place]
            return window.start, window.end
        return place * self.size, (place + 1) * self.size

    def spec(self) -> dict[str, Any]:
        lo, hi = self.bounds
        if self.kind == "static":
            return {"static": list(self.keys)}
        if self.kind == "dynamic":
            return {"dynamic": True}
        if self.kind == "range":
            given = {"start": lo, "end": hi}
            ends = {name: at * self.size for name, at in given.items() if at is not None}
            return {"range": self.size} | ends
        given = {"start": lo, "end": hi}
        ends = {name: self.grid[at] for name, at in given.items() if at is not None}
        return {"time": self.grain, "zone": self.zone} | ends


@cache
def _grid(dimension: Dimension) -> tuple[str, ...]:
    if dimension.kind == "time":
        found = windows(dimension.grain, dimension.zone, dimension.anchor)
        return tuple(window.key for window in found)
    if dimension.kind == "range":
        size = dimension.size
        return tuple(f"{n * size}-{n * size + size - 1}" for n in range(_BUCKETS))
    return dimension.keys


Space = tuple[Dimension, ...]


def text(space: Space, key: Key) -> str:
    """A key as the engine writes it."""
    if not space:
        return "*"
    if len(space) == 1:
        return key[0]
    return "/".join(f"{d.name}={part}" for d, part in zip(space, key, strict=True))


def universe(space: Space) -> Iterator[Key]:
    return itertools.product(*(d.universe for d in space))


def is_finite(space: Space) -> bool:
    return all(d.is_finite for d in space)


def read_text(space: Space, said: str | None) -> set[Key]:
    """The keys that a key, a range or a part of one names."""
    parts = {d.name: set(d.universe) for d in space}
    for piece in [] if said in (None, "*") else said.split("/"):
        name, _, values = piece.rpartition("=") if len(space) > 1 else (space[0].name, "", piece)
        dimension = next(d for d in space if d.name == name)
        first, _, last = values.partition("..")
        lo, hi = dimension.grid.index(first), dimension.grid.index(last or first)
        parts[name] &= set(dimension.grid[lo : hi + 1])
    return set(itertools.product(*(sorted(parts[d.name]) for d in space)))


@dataclass(frozen=True)
class Link:
    """How a source dimension meets a target dimension, by index."""

    source: int
    target: int
    window: tuple[int, int] | None = None
    keymap: tuple[tuple[str, tuple[str, ...]], ...] | None = None

    def meets(self, source: Dimension, target: Dimension) -> dict[str, frozenset[str]]:
        """By target key, the source keys that it needs."""
        return _meets(self, source, target)


@cache
def _meets(link: Link, source: Dimension, target: Dimension) -> dict[str, frozenset[str]]:
    if link.keymap is not None:
        return {
            t: frozenset(s for s, targets in link.keymap if t in targets) for t in target.universe
        }
    if not source.is_ordered:
        return {t: frozenset({t}) & set(source.universe) for t in target.universe}
    first, last = link.window or (0, 0)
    found = {}
    for t in target.universe:
        place = target.grid.index(t)
        reach = range(max(place + first, 0), min(place + last + 1, len(target.grid)))
        spans = [target.span(n) for n in reach]
        found[t] = frozenset(s for s in source.universe if _overlaps(source, s, spans))
    return found


def _overlaps(source: Dimension, key: str, spans: Iterable[tuple[Any, Any]]) -> bool:
    lo, hi = source.span(source.grid.index(key))
    return any(max(lo, start) < min(hi, end) for start, end in spans)


@dataclass(frozen=True)
class Read:
    """One dataset as a job reads it. ``latest``: of that dimension, only the last key counts.

    ``passes`` names, for a dimension of the output, the input column that holds its key: the job
    reads only the rows where they are equal.
    """

    dataset: str
    links: tuple[Link, ...] = ()
    latest: int | None = None
    spec: Any = field(default=None, compare=False)
    wait_for: str | int = "any"
    cursor: bool = False
    passes: tuple[tuple[str, str], ...] = ()


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
    """A source when it reads nothing. Its values are hashes modulo ``coarse``: few come out new."""

    name: str
    dag: str
    space: Space
    outputs: tuple[Output, ...]
    reads: tuple[Read, ...] = ()
    strategy: str = "PerPartition"
    salt: int = 0
    coarse: int = 1_000_003
    per_task: int = 1
    max_attempts: int = 3
    tells_columns: bool = True

    @property
    def is_source(self) -> bool:
        return not self.reads

    @property
    def is_unit(self) -> bool:
        return self.strategy != "PerPartition"

    @property
    def priority(self) -> int:
        return self.salt % 3


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

    def leaves(self) -> list[Job]:
        """Jobs that nobody reads."""
        read = {read.dataset for job in self.jobs for read in job.reads}
        return [job for job in self.jobs if read.isdisjoint(o.name for o in job.outputs)]

    def without(self, name: str) -> World:
        return World(tuple(job for job in self.jobs if job.name != name))

    def replacing(self, job: Job) -> World:
        return World(tuple(job if each.name == job.name else each for each in self.jobs))

    def with_dag(self, dag: str, other: World) -> World:
        """With a DAG as another world has it; a later DAG reads earlier ones, never otherwise."""
        jobs = [job for job in self.jobs if job.dag != dag]
        jobs += [job for job in other.jobs if job.dag == dag]
        return World(tuple(sorted(jobs, key=lambda job: job.dag)))

    def text(self, dag: str) -> dict[str, Any]:
        """A DAG as its file says it."""
        return {"dag": dag, "jobs": [self._job(job) for job in self.jobs if job.dag == dag]}

    def _job(self, job: Job) -> dict[str, Any]:
        outputs = [
            {
                "dataset": output.name,
                "partitioning": {d.name: d.spec() for d in job.space},
                **({"columns": _columns(output)} if job.tells_columns else {}),
            }
            for output in job.outputs
        ]
        if job.is_source:
            source = {"kind": "manual"}
            return {"name": job.name, "activation": "source", "source": source, "outputs": outputs}
        followed = any(read.cursor for read in job.reads)
        passes = {
            dimension: f"{read.dataset}.{column}"
            for read in job.reads
            for dimension, column in read.passes
        }
        return {
            "name": job.name,
            "operator": "python",
            "config": {"callable": "nowhere:nothing", "kwargs": {"salt": job.salt}}
            | ({"passes": passes} if passes else {}),
            "execution_strategy": job.strategy,
            **({"update_strategy": "append", "unique_key": ["id"]} if followed else {}),
            "inputs": [_input(read) for read in job.reads],
            "outputs": outputs,
            "scaling": {"partitions_per_task": job.per_task, "priority": job.priority},
            "max_attempts": job.max_attempts,
        }


def describe(world: World) -> list[str]:
    """A line for each job, for people."""
    return [_line(job) for job in world.jobs]


def _line(job: Job) -> str:
    cut = " by ".join(f"{d.name}:{d.grain or d.kind}{_ends(d)}" for d in job.space) or "whole"
    said = [
        f"{output.name}({', '.join(_told(output))})" if job.tells_columns else output.name
        for output in job.outputs
    ]
    head = f"{job.dag}.{job.name} makes {' and '.join(said)} by {cut}"
    if job.is_source:
        return head
    reads = [
        f"{read.dataset} {read.spec or 'inferred'}"
        + (f" wait_for {read.wait_for}" if read.wait_for != "any" else "")
        + (" followed" if read.cursor else "")
        for read in job.reads
    ]
    return f"{head} from {'; '.join(reads)} [{job.strategy}, {job.per_task} a task]"


def _ends(d: Dimension) -> str:
    return f" of {len(d.universe)} from {d.universe[0]} {d.zone}" if d.is_finite else " without end"


def _told(output: Output) -> list[str]:
    if output.told is None:
        return list(output.columns)
    return [
        f"{column}←{'+'.join(f'{d}.{c}' for d, c in output.told.get(column, ()))}"
        for column in (*output.columns, EVERY)
    ]


def _columns(output: Output) -> Any:
    if output.told is None:
        return list(output.columns)
    said = {c: [f"{d}.{i}" for d, i in output.told.get(c, ())] for c in output.columns}
    every = [f"{d}.{i}" for d, i in output.told.get(EVERY, ())]
    return said | ({EVERY: every} if every else {})


def _input(read: Read) -> dict[str, Any]:
    said: dict[str, Any] = {"dataset": read.dataset, "wait_for": read.wait_for}
    if read.spec is not None:
        said["mapping"] = read.spec
    if read.cursor:
        said["cursor"] = {"column": "id", "type": "integer"}
    return said


def needed(read: Read, source: Space, target: Space, key: Key, among: Collection[Key]) -> set[Key]:
    """Those of ``among`` that an output partition reads; the last is the last of them."""
    tables = [(link, link.meets(source[link.source], target[link.target])) for link in read.links]
    last = _last(read, source, among)
    return {
        s
        for s in among
        if all(s[link.source] in table.get(key[link.target], ()) for link, table in tables)
        and (last is None or s[read.latest] == last)
    }


def _last(read: Read, source: Space, among: Collection[Key]) -> str | None:
    if read.latest is None or not among:
        return None
    return max((s[read.latest] for s in among), key=source[read.latest].grid.index)


def is_tight(read: Read, target: Space) -> bool:
    """Whether an input partition alone says how far it reaches in every output dimension."""
    linked = {link.target for link in read.links}
    return all(i in linked or d.kind == "static" for i, d in enumerate(target))
