"""Convert an invalidation's scope into the dirty scope of its dataset.

The scope is all of the dataset, or a key or range of its partitions; columns and a row filter
narrow it, and conditions on partition columns narrow it to partitions.
"""

from __future__ import annotations

from uuid import UUID

from engine.lineage.columns import dirty_columns
from engine.lineage.graph import Lineage
from engine.lineage.narrowing import certain, narrow
from engine.lineage.rows import RowFilter
from engine.model.invalidation import ABOUT_READERS, ONLY_IF_STALE, Invalidation
from engine.model.states import Activation, Reason
from engine.partitions import PartitionSet
from engine.planner.bounds import Extents, clamp_open_ends
from engine.planner.dirty import DirtyScope
from engine.planner.provenance import InvalidationSet

GROWTH = frozenset({Reason.ARRIVAL, Reason.SCHEDULE})
"""Reasons that imply added rows and no other change."""


def dirty_scope(
    lineage: Lineage, extents: Extents, invalidation: Invalidation, members: InvalidationSet
) -> DirtyScope:
    """Return the dirty scope of an invalidation, always finite and possibly empty.

    Raises:
        InvalidPartition, InvalidFilter: the dataset cannot have such a scope.
    """
    rows = row_filter(lineage, invalidation)
    requested, partitions = _partitions(lineage, extents, invalidation)
    if rows:
        requested = narrow(rows, requested.space, requested)
        partitions = narrow(rows, partitions.space, partitions)
    in_place = changes_in_place(lineage, invalidation)
    # Rows selected by conditions may be before a cursor, even if the conditions are dropped.
    has_grown = in_place and invalidation.reason in GROWTH and invalidation.row_filter is None
    return DirtyScope(
        partitions,
        dirty_columns(invalidation.columns),
        rows or None,
        members,
        in_place,
        has_grown,
        only_if_stale=invalidation.reason in ONLY_IF_STALE,
        unknown=_unknown(lineage, invalidation.dataset, requested - partitions),
    )


def row_filter(lineage: Lineage, invalidation: Invalidation) -> RowFilter:
    """Return the row filter of an invalidation, as far as its conditions are certain."""
    rows = RowFilter.parse(invalidation.row_filter or {})
    if not rows:
        return rows
    dataset = lineage.find_dataset(invalidation.dataset)
    columns = None if dataset is None else dataset.columns
    return certain(rows, lineage.space(invalidation.dataset), columns, invalidation.columns)


def changes_in_place(lineage: Lineage, invalidation: Invalidation) -> bool:
    """Return True if only readers are triggered.

    This holds for changes of sources, rewrites by hand, and changes found by a run. Otherwise a
    produced dataset is wrong: the producer is triggered, and the readers through the producer.
    """
    made_by = lineage.producer(invalidation.dataset).activation
    return made_by == Activation.SOURCE or invalidation.reason in ABOUT_READERS


def _unknown(lineage: Lineage, dataset: UUID, unnamed: PartitionSet) -> PartitionSet | None:
    """Return partitions that exist although no event has named them: possible for sources only."""
    is_source = lineage.producer(dataset).is_source
    return unnamed if unnamed and is_source else None


def _partitions(
    lineage: Lineage, extents: Extents, invalidation: Invalidation
) -> tuple[PartitionSet, PartitionSet]:
    """Return the partitions in the scope, possible and known; a named key counts as known."""
    space = lineage.space(invalidation.dataset)
    if invalidation.partition_key is None:
        return space.universe, extents.everything(invalidation.dataset)
    requested = space.parse(invalidation.partition_key)
    return requested, clamp_open_ends(requested, lambda: extents.requested(invalidation.dataset))
