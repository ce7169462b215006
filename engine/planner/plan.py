"""The plan: the affected jobs and partitions, each with the path that led there.

It is a value, which `flow` executes and `document` explains, so that the plan is what runs. There
is a hit for every edge that was crossed, so those are structs, which cost the least to make.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from functools import reduce
from typing import Any, Literal, NamedTuple
from uuid import UUID

import msgspec

from engine.lineage.columns import PRUNED, DirtyColumns, Pruning, widest
from engine.lineage.graph import Edge
from engine.lineage.rows import RowFilter
from engine.partitions import Mapping as PartitionMapping
from engine.partitions import PartitionSet
from engine.planner.causes import Causes, members
from engine.planner.dirty import DirtyScope

Rule = Literal["columns", "rows", "partitions", "manual"]


class Hit(msgspec.Struct, frozen=True, gc=False):
    """Output partitions of a job that may have to be recomputed, and what hit them: one hop back.

    ``dirty`` is of ``dataset`` and came over ``edge``; None: the dataset is the job's own output,
    and wrong. ``from_job`` is the job whose step may change it; None: it had changed in place, or
    was wrong. ``columns`` are the dirty ones of each output, ``rows`` the filter as it holds
    beyond the job.
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
        """What takes the dataset's partitions to the job's; None: they are the job's own."""
        return self.edge.mapping if self.edge else None


class Step(msgspec.Struct, frozen=True, gc=False):
    """One job and the output partitions that it may have to recompute.

    ``direct`` are those hit by a source's change or by an invalidation of the output itself: they
    run for sure, the rest only if a parent's result changes. ``if_stale`` are hit only by a run's
    own finding hits: they run if stale by now. ``row_filters`` are what a `PerUpdate` job
    reads, any of: a filter's rows, ``{}`` for the new rows past its cursor, None for all rows.
    """

    job: UUID
    partitions: PartitionSet
    direct: PartitionSet
    if_stale: PartitionSet
    row_filters: tuple[Mapping[str, Any] | None, ...]
    via: tuple[Hit, ...]

    @property
    def is_narrow(self) -> bool:
        """Whether the readers of its outputs are reached through some columns or rows of them only.

        What it makes for the first time is new in all of them: that is told when it has been made.
        """
        return any(hit.rows is not None or any(hit.columns) for hit in self.via)

    def dirty_columns(self, outputs: Sequence[UUID]) -> dict[UUID, DirtyColumns]:
        """The dirty columns of each of the job's outputs that has any; None: all of them."""
        found: dict[UUID, DirtyColumns] = {}
        for i, output in enumerate(outputs if self.partitions else ()):
            dirty = [columns for hit in self.via if (columns := hit.columns[i]) is not PRUNED]
            if dirty:
                found[output] = reduce(widest, dirty)
        return found


class Changed(NamedTuple):
    """Partitions of a dataset that changed in place, in which columns and rows; None: in all."""

    partitions: PartitionSet
    columns: DirtyColumns
    rows: RowFilter | None = None


class Pruned(NamedTuple):
    """The proof for an edge that was pruned: the rule, and one line for people.

    ``job`` is the one that the change did not reach; None: it came to nothing by itself.
    """

    dataset: UUID
    job: UUID | None
    rule: Rule
    detail: str


@dataclass(frozen=True, slots=True)
class Plan:
    """The whole closure of some invalidations.

    ``steps`` come parents first. ``changed`` is what changed in place: of sources, and of what was
    rewritten. ``invalidations`` names the jobs that each one affects, those that have their tasks
    already included, in the order by which hits know them.
    """

    steps: tuple[Step, ...]
    pruned: tuple[Pruned, ...]
    changed: Mapping[UUID, tuple[Changed, ...]]
    invalidations: Mapping[UUID, frozenset[UUID]]

    def caused_by(self, causes: Causes) -> tuple[UUID, ...]:
        """The invalidations in such a set."""
        ids = tuple(self.invalidations)
        return tuple(ids[n] for n in members(causes))

    @property
    def stamps(self) -> dict[UUID, PartitionSet]:
        """The partitions that bear a new stamp, by dataset."""
        return {
            dataset: PartitionSet.union([each.partitions for each in changed])
            for dataset, changed in self.changed.items()
        }
