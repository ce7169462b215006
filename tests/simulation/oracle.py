"""What has to be so: everything recomputed from scratch, and every run held against its reason."""

from __future__ import annotations

from collections import defaultdict
from collections.abc import Callable, Collection, Iterable, Mapping
from dataclasses import dataclass, field
from typing import Any
from zlib import crc32

from tests.simulation.world import (
    Columns,
    Job,
    Key,
    Output,
    Read,
    World,
    is_finite,
    is_tight,
    needed,
    universe,
)

Rows = dict[int, dict[str, Any]]
"""What a partition holds: by row id, its columns."""
Partitions = Mapping[Key, Rows]


def make(
    world: World,
    job: Job,
    key: Key,
    data: Callable[[str], Partitions],
    existing: Callable[[str], Collection[Key]],
) -> dict[str, Rows]:
    """The content of an output partition, by output: only what is declared to be read is read."""
    read = {
        each.dataset: _read(world, job, each, key, data(each.dataset), existing(each.dataset))
        for each in job.reads
    }
    return {output.name: {0: _row(job, output, key, read)} for output in job.outputs}


def _row(job: Job, output: Output, key: Key, read: Mapping[str, Partitions]) -> dict[str, Any]:
    row = {}
    for column in output.columns:
        seen = [
            (dataset, _seen(partitions, output.reads(dataset, column)))
            for dataset, partitions in sorted(read.items())
        ]
        content = repr((job.salt, output.name, column, key, [each for each in seen if each[1]]))
        row[column] = crc32(content.encode()) % job.coarse
    return row


def _seen(partitions: Partitions, columns: Columns) -> Any:
    """What is to be seen of some columns; without any, not even that there are rows."""
    if columns is None:
        return [(key, sorted((n, sorted(row.items())) for n, row in rows.items()))
                for key, rows in sorted(partitions.items())]  # fmt: skip
    return columns and [
        (key, sorted((n, [(c, row.get(c)) for c in sorted(columns)]) for n, row in rows.items()))
        for key, rows in sorted(partitions.items())
    ]


def _read(
    world: World, job: Job, read: Read, key: Key, data: Partitions, existing: Collection[Key]
) -> Partitions:
    source = world.makers[read.dataset].space
    keys = needed(read, source, job.space, key, existing if read.latest is not None else data)
    return {each: data[each] for each in keys if each in data}


def recomputed(
    world: World, sources: Mapping[str, Partitions], existing: Mapping[str, Collection[Key]]
) -> dict[str, dict[Key, Rows]]:
    """All partitions that exist, made anew from the sources down."""
    made: dict[str, dict[Key, Rows]] = {name: dict(each) for name, each in sources.items()}
    for job in world.made:
        for output in job.outputs:
            made[output.name] = {}
        for key in existing[job.outputs[0].name]:
            found = make(world, job, key, made.__getitem__, existing.__getitem__)
            for name, rows in found.items():
                made[name][key] = rows
    return made


def must_exist(world: World, job: Job, existing: Mapping[str, Collection[Key]]) -> set[Key]:
    """The partitions that something which exists reaches.

    An input that leaves an output dimension open reaches what the others do; where there are no
    others, all that bounds allow.
    """
    tight = [read for read in job.reads if is_tight(read, job.space)]
    keys = [*universe(job.space)]
    is_whole = job.is_unit and is_finite(job.space)
    followed = job.reads if is_whole else tight or [read for read in job.reads if _ends(read, job)]
    reached = {
        key
        for read in followed
        for key in keys
        if needed(read, world.makers[read.dataset].space, job.space, key, existing[read.dataset])
    }
    return {*keys} if reached and is_whole else reached


def may_exist(world: World, job: Job, existing: Mapping[str, Collection[Key]]) -> set[Key]:
    """The partitions that are made from something which exists."""
    keys = {*universe(job.space)}
    if job.is_unit and is_finite(job.space):
        return keys
    spaces = {read.dataset: world.makers[read.dataset].space for read in job.reads}
    return {
        key
        for key in keys
        for read in job.reads
        if needed(read, spaces[read.dataset], job.space, key, existing[read.dataset])
    }


def _ends(read: Read, job: Job) -> bool:
    linked = {link.target for link in read.links}
    return all(i in linked or d.is_finite for i, d in enumerate(job.space))


def waits(world: World, job: Job, key: Key, existing: Mapping[str, Collection[Key]]) -> bool:
    """Whether the first run of an output partition has to wait for inputs."""
    return any(_lacks(world, job, read, [key], existing[read.dataset]) for read in job.reads)


def unit_waits(world: World, job: Job, keys: list[Key], existing: Mapping[str, Any]) -> bool:
    """The same for a job that makes everything in one go."""
    return any(_lacks(world, job, read, keys, existing[read.dataset]) for read in job.reads)


def _lacks(world: World, job: Job, read: Read, keys: list[Key], existing: Collection[Key]) -> bool:
    if read.wait_for == "any":
        return False
    source = world.makers[read.dataset].space
    among = {*universe(source)}
    all_needed = {s for key in keys for s in needed(read, source, job.space, key, among)}
    least = len(all_needed) if read.wait_for == "all" else min(read.wait_for, len(all_needed))
    return len(all_needed & {*existing}) < least


@dataclass(frozen=True)
class Declared:
    """At some time, columns of a partition were said to be dirty, of rows with one of some values.

    ``key`` None: of every partition.
    """

    time: int
    key: Key | None
    columns: Columns
    rows: tuple[str, frozenset[str]] | None = None


@dataclass
class Ledger:
    """What was declared, what really came out new, and when each partition was last made."""

    declared: defaultdict[str, list[Declared]] = field(default_factory=lambda: defaultdict(list))
    changed: defaultdict[tuple[str, Key], int] = field(default_factory=lambda: defaultdict(int))
    wrong: defaultdict[str, list[Declared]] = field(default_factory=lambda: defaultdict(list))
    made: dict[tuple[Any, Key], int] = field(default_factory=dict)

    def dirt(
        self, world: World, job: Job, generation: Any, keys: Collection[Key]
    ) -> dict[str, Columns] | None:
        """By output, the columns for which a run is due; None when nothing calls for it."""
        dirt: dict[str, set[Columns]] = {output.name: set() for output in job.outputs}
        for key in keys:
            since = self.made.get((generation, key))
            if since is None or self._is_wrong(job, key, since):
                return dict.fromkeys(dirt)
            for name, columns in self._through(world, job, key, since):
                dirt[name].add(columns)
        found = {name: _widest(each) for name, each in dirt.items() if each}
        return found or None

    def _is_wrong(self, job: Job, key: Key, since: int) -> bool:
        return any(
            each.time > since and (each.key in (None, key) or job.is_unit)
            for output in job.outputs
            for each in self.wrong[output.name]
        )

    def _through(
        self, world: World, job: Job, key: Key, since: int
    ) -> Iterable[tuple[str, Columns]]:
        for read in job.reads:
            source = world.makers[read.dataset]
            for said in self.declared[read.dataset]:
                if said.time <= since or not self._reaches(world, job, read, key, said):
                    continue
                if not source.is_source and not self._came_out(world, job, read, key, since):
                    continue
                for output in job.outputs:
                    dirtied = output.dirtied(read.dataset, said.columns)
                    if dirtied is None or dirtied:
                        yield output.name, dirtied

    def _reaches(self, world: World, job: Job, read: Read, key: Key, said: Declared) -> bool:
        if job.is_unit or said.key is None or read.latest is not None:
            return True
        source = world.makers[read.dataset].space
        return bool(needed(read, source, job.space, key, [said.key]))

    def _came_out(self, world: World, job: Job, read: Read, key: Key, since: int) -> bool:
        """Whether anything that it reads of a made dataset really differs from before."""
        keys = [
            k for (name, k), time in self.changed.items() if name == read.dataset and time > since
        ]
        if job.is_unit or read.latest is not None:
            return bool(keys)
        return bool(needed(read, world.makers[read.dataset].space, job.space, key, keys))


def _widest(columns: Iterable[Columns]) -> Columns:
    found: set[str] = set()
    for each in columns:
        if each is None:
            return None
        found |= each
    return frozenset(found)
