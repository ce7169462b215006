"""The plan: the affected jobs and partitions, each with the path that led there.

It is a value, which `flow` executes and `document` explains, so that the plan is what runs.
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any, Literal, NamedTuple
from uuid import UUID

from engine.lineage.columns import DirtyColumns
from engine.partitions import Mapping as PartitionMapping
from engine.partitions import PartitionSet

Rule = Literal["columns", "rows", "partitions", "manual"]


class Via(NamedTuple):
    """One hop back along the path that led to a step.

    ``partitions`` and ``columns`` are what was dirty of ``dataset``. ``from_job`` is the job whose
    step may change it; None: it had changed in place, or was wrong. ``mapping`` takes its
    partitions to the job's; None: the dataset is the job's own output, and wrong. ``hit`` are
    those of the job's that it came to.
    """

    dataset: UUID
    from_job: UUID | None
    mapping: PartitionMapping | None
    partitions: PartitionSet
    columns: DirtyColumns
    hit: PartitionSet
    invalidations: tuple[UUID, ...]


class Step(NamedTuple):
    """One job and the output partitions that it may have to recompute.

    ``direct`` are those hit by a source's change or by an invalidation of the output itself: they
    run for sure, the rest only if a parent's result changes. ``columns`` holds the dirty columns
    of each output that has any. ``row_filters`` are what a `PerUpdate` job reads, any of:
    a filter's rows, ``{}`` for the new rows past its cursor, None for all rows. ``is_narrow``: what
    reads its outputs is reached through some columns or rows of them only.
    """

    job: UUID
    partitions: PartitionSet
    direct: PartitionSet
    columns: Mapping[UUID, DirtyColumns]
    row_filters: tuple[Mapping[str, Any] | None, ...]
    via: tuple[Via, ...]
    is_narrow: bool


class Changed(NamedTuple):
    """Partitions of a dataset that changed in place, and in which columns; None: in all."""

    partitions: PartitionSet
    columns: DirtyColumns


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
    already included.
    """

    steps: tuple[Step, ...]
    pruned: tuple[Pruned, ...]
    changed: Mapping[UUID, tuple[Changed, ...]]
    invalidations: Mapping[UUID, frozenset[UUID]]

    @property
    def stamps(self) -> dict[UUID, PartitionSet]:
        """The partitions that bear a new stamp, by dataset."""
        return {
            dataset: PartitionSet.union([each.partitions for each in changed])
            for dataset, changed in self.changed.items()
        }
