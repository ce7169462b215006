"""The plan: the affected jobs and partitions, each with the path from the invalidations.

A plan is a value, executed by `flow` and explained by `document`, so the plan shown is the plan
that runs. Every edge over which a scope propagates has a
trigger, so triggers are structs, the cheapest objects to make.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from enum import StrEnum
from functools import reduce
from typing import Any, NamedTuple
from uuid import UUID

import msgspec

from engine.lineage.columns import ALL_COLUMNS, PRUNED, DirtyColumns, Pruning, union_columns
from engine.lineage.graph import Edge
from engine.lineage.rows import RowFilter
from engine.model.job import Job
from engine.partitions import Mapping as PartitionMapping
from engine.partitions import PartitionSet
from engine.planner.chains import Later
from engine.planner.dirty import DirtyScope
from engine.planner.provenance import InvalidationSet, indexes


class PruningRule(StrEnum):
    """Rule by which a change stops at an edge: in the plan, or (unchanged) when its tasks end."""

    COLUMNS = "columns"
    ROWS = "rows"
    PARTITIONS = "partitions"
    MANUAL = "manual"
    UNCHANGED = "unchanged"


class Trigger(msgspec.Struct, frozen=True, gc=False):
    """Output partitions of a job that may have to be recomputed, with the trigger one hop back.

    ``dirty`` is a scope of ``dataset`` and came over ``edge``; None: the dataset is the job's own
    output, and wrong. ``from_job`` is the job whose step may change the dataset; None: it had
    changed in place, or was wrong. ``columns`` are the dirty columns of each output, ``rows`` the
    filter as valid downstream of the job.
    """

    dataset: UUID
    from_job: UUID | None
    edge: Edge | None
    dirty: DirtyScope
    partitions: PartitionSet
    columns: tuple[DirtyColumns | Pruning, ...]
    rows: RowFilter | None

    @property
    def mapping(self) -> PartitionMapping | None:
        """Mapping from the dataset's partitions to the job's; None: the job's own dataset."""
        return self.edge.mapping if self.edge else None


class Step(msgspec.Struct, frozen=True, gc=False):
    """Job and its output partitions that may have to be recomputed.

    ``directly_invalidated``: partitions triggered by a source's change or by an invalidation of the
    output itself. These must run; the rest run only if a parent's result changes. ``if_stale``:
    partitions triggered only by changes found by a run, which run if stale by now. ``row_filters``:
    rows that a `PerUpdate` job reads, any of: a filter's rows, ``{}`` for the new rows past the
    cursor, None for all rows. ``later``: partitions that wait for earlier ones of the same job, and
    have no tasks yet.
    """

    job: UUID
    partitions: PartitionSet
    directly_invalidated: PartitionSet
    if_stale: PartitionSet
    row_filters: tuple[Mapping[str, Any] | None, ...]
    triggers: tuple[Trigger, ...]
    later: tuple[Later, ...] = ()

    @property
    def with_tasks(self) -> PartitionSet:
        """Return the partitions that get tasks: all but those that wait for earlier ones."""
        if not self.later:
            return self.partitions
        return self.partitions - PartitionSet.union([later.partitions for later in self.later])

    @property
    def requested(self) -> PartitionSet:
        """Return the partitions invalidated themselves, which run even if no input changes."""
        requests = [
            trigger.partitions
            for trigger in self.triggers
            if trigger.edge is None and not trigger.dirty.only_if_stale
        ]
        return PartitionSet.union([self.partitions.space.empty, *requests])

    def reached_if_stale(self, job: Job) -> PartitionSet:
        """Return the partitions that changes found by runs reach, whichever others reach them too.

        All partitions of a single-run job; none that must run.
        """
        reached = [
            self.partitions if job.is_single_run else trigger.partitions
            for trigger in self.triggers
            if trigger.from_job is None and trigger.dirty.only_if_stale
        ]
        empty = self.partitions.space.empty
        return PartitionSet.union([empty, *reached]) - self.directly_invalidated

    @property
    def is_narrow(self) -> bool:
        """Return True if the readers of the outputs are reached through some columns or rows only.

        A partition built for the first time is new in all columns, which the completion propagates.
        """
        return any(
            trigger.rows is not None or trigger.columns.count(ALL_COLUMNS) < len(trigger.columns)
            for trigger in self.triggers
        )

    def dirty_columns(self, outputs: Sequence[UUID]) -> dict[UUID, DirtyColumns]:
        """Return the dirty columns by affected output of the job."""
        by_output: dict[UUID, DirtyColumns] = {}
        for i, output in enumerate(outputs if self.partitions else ()):
            dirty = [
                columns
                for trigger in self.triggers
                if (columns := trigger.columns[i]) is not PRUNED
            ]
            if dirty:
                by_output[output] = reduce(union_columns, dirty)
        return by_output


class Changed(NamedTuple):
    """Partitions of a dataset that changed in place, with the columns and rows (None: all)."""

    partitions: PartitionSet
    columns: DirtyColumns
    rows: RowFilter | None = None


class Pruned(NamedTuple):
    """Proof for a pruned edge: the rule, and one line for people.

    ``job`` is the job not reached by the change; None: the change affected nothing by itself.
    """

    dataset: UUID
    job: UUID | None
    rule: PruningRule
    detail: str


@dataclass(frozen=True, slots=True)
class Plan:
    """Transitive closure of a set of invalidations.

    ``steps`` are in topological order. ``changed`` are the changes in place: of sources, and of
    rewritten datasets. ``invalidations`` maps each id to the affected jobs, including jobs that
    already have tasks, in the order of the bits in `InvalidationSet`.
    """

    steps: tuple[Step, ...]
    pruned: tuple[Pruned, ...]
    changed: Mapping[UUID, tuple[Changed, ...]]
    invalidations: Mapping[UUID, frozenset[UUID]]

    def invalidation_ids(self, invalidations: InvalidationSet) -> tuple[UUID, ...]:
        """Return the ids of the invalidations in a set."""
        ids = tuple(self.invalidations)
        return tuple(ids[n] for n in indexes(invalidations))

    @property
    def changed_partitions(self) -> dict[UUID, PartitionSet]:
        """Partitions that receive a new content version, by dataset."""
        return {
            dataset: PartitionSet.union([change.partitions for change in changed])
            for dataset, changed in self.changed.items()
        }
