"""Propagate a dirty scope of a dataset over one edge to a reading job.

Columns, partition mapping and row filter compose. Each widens where information is missing, and
gives the reason where it prunes:

- columns: an output is dirty if its input columns meet the dirty columns; the edge is pruned if no
  output is dirty;
- partitions: the mapping goes down, from the dirty partitions to the touched output partitions;
- rows: a condition on a partition column, if preserved by the job, narrows the touched partitions.
"""

from __future__ import annotations

from collections.abc import Sequence
from uuid import UUID

from engine.lineage.columns import (
    ALL_COLUMNS,
    PRUNED,
    DirtyColumns,
    Pruning,
    propagate_columns,
    stored_columns,
)
from engine.lineage.graph import Edge
from engine.lineage.narrowing import pass_on
from engine.lineage.rows import RowFilter
from engine.model.job import Job
from engine.partitions import PartitionSet
from engine.planner.bounds import Extents, clamp, unbounded_dimensions
from engine.planner.dirty import DirtyScope
from engine.planner.plan import Pruned, PruningRule, Trigger


def trigger_producer(
    extents: Extents, job: Job, dataset: UUID, dirty: DirtyScope
) -> Trigger | Pruned:
    """Trigger the producer of a wrong output, to rebuild the dirty partitions completely."""
    partitions = extents.in_being(job, dirty.partitions)
    if dirty.partitions and not partitions and not job.is_single_run:
        return Pruned(dataset, job.id, PruningRule.PARTITIONS, _to_come(dirty.partitions))
    return Trigger(dataset, None, None, dirty, partitions, (ALL_COLUMNS,) * len(job.outputs), None)


def propagate(
    extents: Extents,
    job: Job,
    edge: Edge,
    dirty: DirtyScope,
    triggers: Sequence[Trigger],
) -> Trigger | Pruned:
    """Propagate a dirty scope over an edge, by columns, partitions and rows.

    ``triggers`` are the job's triggers so far: their partitions count as known. A single-run job
    runs even if none of the touched partitions is known or in being yet, because the run may
    discover some, and builds all others again.
    """
    columns: tuple[DirtyColumns | Pruning, ...] = (ALL_COLUMNS,) * len(job.outputs)
    if dirty.columns is not ALL_COLUMNS:
        columns = tuple([propagate_columns(mapped, dirty.columns) for mapped in edge.columns])
        if all(reached is PRUNED for reached in columns):
            return Pruned(edge.dataset, edge.job, PruningRule.COLUMNS, _unread(edge, dirty))
    touched = _touched(extents, job, edge, dirty)
    rows = None
    if dirty.rows and touched:
        touched, rows = pass_on(dirty.rows, edge, touched)
        if not touched:
            return Pruned(edge.dataset, edge.job, PruningRule.ROWS, _rowless(dirty.rows))
    partitions = touched
    if not edge.mapping.is_identity and (
        unbounded := edge.unmapped | unbounded_dimensions(touched)
    ):
        if _begins_with(extents, job, touched, triggers):
            columns = (ALL_COLUMNS,) * len(job.outputs)
        else:
            partitions = _bounded(extents, job, touched, unbounded, triggers)
    known, partitions = partitions, extents.in_being(job, partitions)
    if not partitions and not (touched and job.is_single_run):
        detail = _to_come(known) if known else _untouched(dirty)
        return Pruned(edge.dataset, edge.job, PruningRule.PARTITIONS, detail)
    from_job = None if dirty.in_place else edge.producer.id
    return Trigger(edge.dataset, from_job, edge, dirty, partitions, columns, rows)


def _touched(extents: Extents, job: Job, edge: Edge, dirty: DirtyScope) -> PartitionSet:
    """Return the output partitions of the dirty partitions, as yet unbounded."""
    # `last` may take a dirty partition that is not known yet.
    known = extents.known(edge.dataset) | dirty.partitions if edge.mapping.takes_last else None
    touched = edge.mapping.down(dirty.partitions, known)
    if edge.is_self:
        # Otherwise each partition would bring the next one into existence.
        touched &= extents.known_among(edge.dataset, touched)
    if dirty.unknown is None:
        return touched
    return touched | _built_from(extents, job, edge, dirty.unknown)


def _built_from(extents: Extents, job: Job, edge: Edge, unknown: PartitionSet) -> PartitionSet:
    """Return the known outputs that may have been built from partitions that no event has named."""
    known = extents.known_of_job(job)
    if not known or edge.mapping.takes_last:
        return known
    return edge.mapping.down(unknown) & known


def _begins_with(
    extents: Extents, job: Job, touched: PartitionSet, triggers: Sequence[Trigger]
) -> bool:
    """Return True if a job without determining inputs begins with the touched partitions.

    The partitions are created, so all their columns are new, whichever input columns have changed.
    """
    if not (touched and touched.is_finite):
        return False
    if not extents.is_undetermined(job) or extents.of_job(job):
        return False
    # Partitions reached over other edges will be created too; those invalidated directly exist.
    return not any(trigger.partitions for trigger in triggers if trigger.edge is None)


def _bounded(
    extents: Extents,
    job: Job,
    touched: PartitionSet,
    dimensions: frozenset[int],
    triggers: Sequence[Trigger],
) -> PartitionSet:
    """Restrict the touched partitions to known keys in ``dimensions`` (by index).

    The dimensions are the unbounded and the unmapped ones. A bounded dimension that no input
    determines is not restricted: all its keys are meant, and a missing key was never built because
    its task was canceled. For a job without partitions, the partitions reached by all inputs
    together count as known.
    """
    dimensions -= extents.unmapped_by_all(job) - unbounded_dimensions(touched)
    if not dimensions:
        return touched
    extent = extents.of_job(job)
    if not extent and extents.is_undetermined(job) and not extents.missing:
        extent = extents.product(job)
    extent = PartitionSet.union([extent, *(trigger.partitions for trigger in triggers)])
    return clamp(touched, dimensions, extent)


def _unread(edge: Edge, dirty: DirtyScope) -> str:
    read = sorted({column for mapped in edge.columns if mapped is not None for column in mapped})
    changed = ", ".join(stored_columns(dirty.columns) or ())
    return f"changed columns {{{changed}}} are not read; it reads {{{', '.join(read)}}}"


def _untouched(dirty: DirtyScope) -> str:
    return f"{short(dirty.partitions)} touches no partition that it has or can have"


def _to_come(partitions: PartitionSet) -> str:
    return f"{short(partitions)} is still to come"


def _rowless(rows: RowFilter) -> str:
    return f"none of its partitions holds rows that meet {rows.spec()}"


def short(partitions: PartitionSet) -> str:
    """Abbreviate a set of partitions for messages."""
    texts = partitions.space.texts(partitions)
    return ", ".join(texts[:3]) + (f" and {len(texts) - 3} more" if len(texts) > 3 else "")
