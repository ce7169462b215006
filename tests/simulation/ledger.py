"""Measure for the second law: declared changes, actual changes, and the time of each run."""

from __future__ import annotations

from collections import defaultdict
from collections.abc import Collection, Iterable, Iterator, Mapping
from dataclasses import dataclass, field
from typing import Any

from tests.simulation.dimensions import Key, universe
from tests.simulation.mapping import Read, needed
from tests.simulation.world import Columns, Job, Output, Values, World

ChangeScope = tuple[Columns, Values]
"""Columns and groups of rows with possible changes."""


@dataclass(frozen=True)
class Declared:
    """A declared change of columns of a partition at a time, for rows in any of some groups.

    ``key`` None: of every partition. ``is_of_run``: declared by a completed run of the dataset's
    job.
    """

    time: int
    key: Key | None
    columns: Columns
    groups: Values = None
    is_of_run: bool = False


@dataclass(frozen=True)
class Changed:
    """An actual change of columns of a partition at a time.

    ``groups`` are the groups of changed rows, where the engine must distinguish them.
    """

    time: int
    key: Key
    columns: Columns
    groups: Values = None


NONE: Columns = frozenset()
_ROWS = "rows"
"""Marker among columns for the set of rows."""


@dataclass
class Ledger:
    """Declared and actual changes, and the time of each partition's last run."""

    declared: defaultdict[str, list[Declared]] = field(default_factory=lambda: defaultdict(list))
    changed: defaultdict[str, list[Changed]] = field(default_factory=lambda: defaultdict(list))
    wrong: defaultdict[str, list[Declared]] = field(default_factory=lambda: defaultdict(list))
    rewritten: defaultdict[str, set[Key]] = field(default_factory=lambda: defaultdict(set))
    last_runs: dict[tuple[Any, Key], int] = field(default_factory=dict)
    undeclared: defaultdict[tuple[str, Key], set[str]] = field(
        default_factory=lambda: defaultdict(set)
    )
    """Columns changed before any declaration."""

    def record_changed(self, output: Output, changed: Changed) -> None:
        """Record an actual change; the caller declares its justified part next."""
        self.changed[output.name].append(changed)
        self.undeclared[output.name, changed.key] |= _columns(output, changed.columns)

    def declare(self, world: World, output: Output, declared: Declared) -> None:
        """Declare columns of a produced partition as changed.

        Downstream changes already derived from them, without justification at the time, are
        declared as well.
        """
        self.declared[output.name].append(declared)
        undeclared = self.undeclared[output.name, declared.key]
        late = undeclared & _columns(output, declared.columns)
        undeclared -= late
        for job, read, to in _readers(world, output) if late else ():
            columns = to.affected_columns(output.name, None if _ROWS in late else frozenset(late))
            for key in {change.key for change in self.changed[to.name]} if columns != NONE else ():
                if self._reaches(world, job, read, key, declared):
                    self.declare(world, to, Declared(declared.time, key, columns))

    def justified_changes(
        self, world: World, job: Job, version: Any, keys: Collection[Key]
    ) -> Mapping[str, ChangeScope] | None:
        """Return the justified changes of a run by output; None if no change justifies the run.

        A justified run may change everything a plan must account for upstream; the run itself
        determines actual changes.
        """
        scopes: dict[str, list[ChangeScope]] = {output.name: [] for output in job.outputs}
        for key in keys:
            since = self.last_runs.get((version, key))
            if since is None or self._is_wrong(job, key, since):
                return dict.fromkeys(scopes, (None, None))
            for name, scope in self._changes_of_inputs(world, job, key, since):
                scopes[name].append(scope)
            for output in job.outputs:
                possible = self._possible_changes(world, output, since, is_own=True)
                if scopes[output.name] and possible:
                    scopes[output.name].append(possible)
        return {name: _union_scopes(found) for name, found in scopes.items() if found} or None

    def _possible_changes(
        self, world: World, output: Output, since: int, *, is_own: bool = False
    ) -> ChangeScope | None:
        """Return the possible changes following from all declarations, regardless of partitions.

        With ``is_own``, declarations by earlier runs of the job are excluded.
        """
        job = world.producers[output.name]
        declared = [d for d in self.declared[output.name] if not (is_own and d.is_of_run)]
        declared += self.wrong[output.name]
        scopes = [(d.columns, d.groups) for d in declared if d.time > since]
        for read in job.upstream_reads:
            outputs = world.producers[read.dataset].outputs
            (source,) = (candidate for candidate in outputs if candidate.name == read.dataset)
            upstream = self._possible_changes(world, source, since)
            columns = output.affected_columns(read.dataset, upstream[0]) if upstream else NONE
            if upstream and columns != NONE:
                keeps_groups = job.preserves_groups(read) and not job.is_single_run
                scopes.append((columns, upstream[1] if keeps_groups else None))
        return _along_chain(job, output, _union_scopes(scopes)) if scopes else None

    def _is_wrong(self, job: Job, key: Key, since: int) -> bool:
        return any(
            declared.time > since and (declared.key in (None, key) or job.is_single_run)
            for output in job.outputs
            for declared in self.wrong[output.name]
        )

    def _changes_of_inputs(
        self, world: World, job: Job, key: Key, since: int
    ) -> Iterable[tuple[str, ChangeScope]]:
        for read in () if job.is_manual else job.reads:
            declared = [
                d
                for d in self.declared[read.dataset]
                if d.time > since and self._reaches(world, job, read, key, d)
            ]
            if not declared or not self._has_changed(world, job, read, key, since):
                declared = []
            actual = self._actual_changes(world, job, read, key, since)
            for change in (*declared, *actual):
                for output in job.outputs:
                    columns = output.affected_columns(read.dataset, change.columns)
                    if columns is None or columns:
                        keeps_groups = job.preserves_groups(read) and not job.is_single_run
                        yield output.name, (columns, change.groups if keeps_groups else None)

    def _actual_changes(
        self, world: World, job: Job, read: Read, key: Key, since: int
    ) -> list[Declared]:
        """Return changes of a produced input that make an output stale, announced or not."""
        if world.producers[read.dataset].is_source:
            return []
        changes = (
            Declared(change.time, change.key, change.columns, change.groups)
            for change in self.changed[read.dataset]
            if change.time > since and _is_read(job, read, change.columns)
        )
        return [change for change in changes if self._reaches(world, job, read, key, change)]

    def reached(
        self, world: World, job: Job, dataset: str, declared: Collection[Declared]
    ) -> set[Key]:
        """Return the partitions of a job reading a declared part of a dataset."""
        return {
            key
            for key in universe(job.space)
            for read in job.reads
            if read.dataset == dataset
            and any(self._reaches(world, job, read, key, scope) for scope in declared)
        }

    def _reaches(self, world: World, job: Job, read: Read, key: Key, declared: Declared) -> bool:
        if job.is_single_run:
            return True
        if None not in (declared.groups, read.grouped) and key[read.grouped] not in declared.groups:
            return False
        if declared.key is None or read.latest is not None:
            return True
        source = world.producers[read.dataset].space
        return bool(needed(read, source, job.space, key, [declared.key]))

    def _has_changed(self, world: World, job: Job, read: Read, key: Key, since: int) -> bool:
        """Return whether any column the job reads from a produced dataset has changed."""
        source = world.producers[read.dataset]
        if source.is_source:
            return True
        keys = {
            change.key
            for change in self.changed[read.dataset]
            if change.time > since and _is_read(job, read, change.columns)
        }
        if job.is_single_run or read.latest is not None:
            return bool(keys)
        return bool(needed(read, source.space, job.space, key, keys))


def _readers(world: World, output: Output) -> Iterator[tuple[Job, Read, Output]]:
    for job in world.readers(output.name):
        for read in job.reads:
            if read.dataset == output.name:
                yield from ((job, read, to) for to in job.outputs)


def _along_chain(job: Job, output: Output, scope: ChangeScope) -> ChangeScope:
    """Return the possible changes of all partitions that read earlier ones of the same output."""
    columns, own = scope[0], job.own_read
    if own is None:
        return scope
    while (further := output.affected_columns(own.dataset, columns)) != NONE:
        both = _union([columns, further])
        if both == columns:
            break
        columns = both
    return columns, None


def _columns(output: Output, columns: Columns) -> set[str]:
    return {*output.columns, _ROWS} if columns is None else {*columns}


def _is_read(job: Job, read: Read, columns: Columns) -> bool:
    return any(
        output.affected_columns(read.dataset, columns) != frozenset() for output in job.outputs
    )


def _union_scopes(scopes: Collection[ChangeScope]) -> ChangeScope:
    return _union(columns for columns, _ in scopes), _union(groups for _, groups in scopes)


def _union(sets: Iterable[frozenset[str] | None]) -> frozenset[str] | None:
    union: set[str] = set()
    for values in sets:
        if values is None:
            return None
        union |= values
    return frozenset(union)
