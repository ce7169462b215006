"""The second law on tables: a task runs only after a change of columns named by its SELECTs.

The columns come from the grammar, never from the lineage derived by the engine.
"""

from __future__ import annotations

from collections import defaultdict
from collections.abc import Collection, Mapping
from dataclasses import dataclass, field
from uuid import UUID

from engine.model.event import SourceEvent
from engine.model.task import Lease
from tests.simulation.dimensions import Key, read_text
from tests.simulation.invariants import Broken
from tests.simulation.mapping import Read, needed
from tests.simulation.tables.generate import GROUPED, TableWorld
from tests.simulation.world import Columns, Job, Values

Rows = Collection[Mapping[str, object]]


@dataclass(frozen=True)
class Change:
    """Change of columns (None: all, and rows) of a partition (None: any) at a time."""

    time: int
    key: Key | None
    columns: Columns
    groups: Values = None


@dataclass
class Changes:
    """Published and produced changes by dataset, and the time of each partition's last run."""

    changed: defaultdict[str, list[Change]] = field(default_factory=lambda: defaultdict(list))
    wrong: defaultdict[str, list[Change]] = field(default_factory=lambda: defaultdict(list))
    """Changes of outputs invalidated directly."""
    named: defaultdict[str, set[Key]] = field(default_factory=lambda: defaultdict(set))
    """Source partitions named by events so far."""
    built: dict[tuple[UUID, Key], int] = field(default_factory=dict)
    """Claim time of the last completed run, by output version and partition."""

    def announce(self, world: TableWorld, event: SourceEvent, time: int) -> None:
        """Record a published event; a partition that no event has named is new in all columns."""
        job = world.world.producers[event.dataset]
        keys: Collection[Key | None] = [None]
        if event.partitions is not None:
            keys = {key for text in event.partitions for key in read_text(job.space, text)}
        columns = None if event.columns is None else frozenset(event.columns)
        to = self.changed if job.is_source else self.wrong
        for key in keys:
            is_new = key is not None and key not in self.named[event.dataset]
            seen = (None, None) if is_new else (columns, _groups(event))
            to[event.dataset].append(Change(time, key, *seen))
        self.named[event.dataset] |= {key for key in keys if key is not None}

    def check(self, world: TableWorld, lease: Lease) -> None:
        """Raise Broken for a task whose inputs have not changed."""
        job = world.world.by_name[lease.job.name]
        version = lease.outputs[0].version
        keys = {key for text in lease.partitions for key in read_text(job.space, text)}
        if not any(self._is_due(world, job, version, key) for key in keys):
            task = f"{job.name}[{','.join(lease.partitions)}]"
            raise Broken("minimal: no change of a named column justifies a task", task)

    def _is_due(self, world: TableWorld, job: Job, version: UUID, key: Key) -> bool:
        since = self.built.get((version, key))
        if since is None:
            return True
        wrong = (change for output in job.outputs for change in self.wrong[output.name])
        if any(change.time > since and change.key in (None, key) for change in wrong):
            return True
        recipe = world.recipes[job.name]
        return any(
            change.time > since
            and recipe.reads_any(read.dataset, change.columns)
            and _reaches(world, job, read, key, change)
            for read in job.reads
            for change in self.changed[read.dataset]
        )


def _groups(event: SourceEvent) -> Values:
    """Return the groups of an event's rows; None if rows may have changed their group."""
    if event.rows is None or GROUPED.name in (event.columns or ()):
        return None
    condition = event.rows[GROUPED.name]
    return frozenset(condition["in"] if isinstance(condition, dict) else [condition])


def _reaches(world: TableWorld, job: Job, read: Read, key: Key, change: Change) -> bool:
    selects = world.recipes[job.name].selects.values()
    is_narrow = read.grouped is not None and all(select.preserves_groups for select in selects)
    if is_narrow and change.groups is not None and key[read.grouped] not in change.groups:
        return False
    if change.key is None or read.latest is not None:
        return True
    source = world.world.producers[read.dataset].space
    return bool(needed(read, source, job.space, key, [change.key]))


def differing(before: Rows | None, after: Rows) -> Columns:
    """Return the columns in which two contents differ, as compared by the operator.

    None if rows were added or removed, or only exchanged their values.
    """
    if before is None or len(before) != len(after):
        return None
    columns = {column for row in after for column in row}
    same = {
        column for column in columns if _projected(before, {column}) == _projected(after, {column})
    }
    if _projected(before, same) != _projected(after, same):
        return None
    return frozenset(columns - same)


def _projected(rows: Rows, columns: Collection[str]) -> list[str]:
    return sorted(repr([row[column] for column in sorted(columns)]) for row in rows)
