"""One edge: does what is dirty of a dataset reach a job that reads it, and where?

Columns, partition mapping and row filter compose. Each widens where it does not know, and where it
prunes it says why:

- columns: the outputs are dirty whose inputs meet the dirty columns; if there are none, the edge
  is pruned;
- partitions: the mapping goes down, from the dirty partitions to the output's that they touch;
- rows: a condition that the job passes through unchanged narrows these where it is on a partition
  column.
"""

from __future__ import annotations

from collections.abc import Sequence
from uuid import UUID

from engine.lineage.columns import PRUNED, DirtyColumns, Pruning, propagate
from engine.lineage.graph import Edge
from engine.lineage.narrowing import narrow
from engine.lineage.rows import RowFilter
from engine.model.job import Job
from engine.partitions import PartitionSet
from engine.planner.dirty import DirtyScope
from engine.planner.extent import Extents, clamp, endless
from engine.planner.plan import Hit, Pruned


def hit_producer(job: Job, dataset: UUID, dirty: DirtyScope) -> Hit:
    """An output is wrong: its producer is hit, and makes those partitions again, whole."""
    return Hit(dataset, None, None, dirty, dirty.partitions, (None,) * len(job.outputs), None)


def cross(
    extents: Extents,
    job: Job,
    edge: Edge,
    dirty: DirtyScope,
    hits: Sequence[Hit],
) -> Hit | Pruned:
    """Carry a dirty scope over an edge, by columns, partitions and rows.

    ``hits`` are the job's so far: their partitions count as existing. A job that is one unit runs
    even where it has none yet of those that are touched, for it may find some.
    """
    columns: tuple[DirtyColumns | Pruning, ...] = (None,) * len(job.outputs)
    if dirty.columns is not None:
        columns = tuple([propagate(each, dirty.columns) for each in edge.columns])
        if all(each is PRUNED for each in columns):
            return Pruned(edge.dataset, edge.job, "columns", _unread(edge, dirty))
    known = _known(extents, edge, dirty.partitions) if edge.mapping.takes_last else None
    touched = edge.mapping.down(dirty.partitions, known)
    rows = dirty.rows and dirty.rows.through(edge.input.passes)
    if rows and touched:
        touched = narrow(rows, touched.space, touched)
        if not touched:
            return Pruned(edge.dataset, edge.job, "rows", _rowless(rows))
    partitions = touched
    if not edge.mapping.is_identity and (without_end := edge.unmapped | endless(touched)):
        if _are_the_first(extents, job, touched, hits):
            columns = (None,) * len(job.outputs)
        else:
            partitions = _with_an_end(extents, job, touched, without_end, hits)
    if not partitions and not (touched and job.is_unit):
        return Pruned(edge.dataset, edge.job, "partitions", _untouched(dirty))
    from_job = None if dirty.in_place else edge.producer.id
    return Hit(edge.dataset, from_job, edge, dirty, partitions, columns, rows)


def _known(extents: Extents, edge: Edge, dirty: PartitionSet) -> PartitionSet:
    """What `last` takes the last partition of; what is dirty may not be known yet."""
    return extents.known(edge.dataset) | dirty


def _are_the_first(extents: Extents, job: Job, touched: PartitionSet, hits: Sequence[Hit]) -> bool:
    """Whether a job that has none, and no input that says which it has, begins with these.

    They come to be, so they are new in all columns, whichever have changed of the input.
    """
    if not (touched and touched.is_finite):
        return False
    if not extents.is_undetermined(job) or extents.of_job(job):
        return False
    # what other edges have hit comes to be as well; what is said to be wrong is there
    return not any(hit.partitions for hit in hits if hit.edge is None)


def _with_an_end(
    extents: Extents,
    job: Job,
    touched: PartitionSet,
    dimensions: frozenset[int],
    hits: Sequence[Hit],
) -> PartitionSet:
    """The touched partitions, with those ``dimensions`` (by index) restricted to keys that exist.

    They are those without an end, and unmapped ones. A bounded one that no input determines is not
    restricted: all its keys are meant, and one that does not exist was never built, because its
    task was canceled. Of a job that has nothing yet, what all its inputs reach together exists.
    """
    dimensions -= extents.unmapped_by_all(job) - endless(touched)
    if not dimensions:
        return touched
    existing = extents.of_job(job)
    if not existing and extents.is_undetermined(job) and not extents.missing:
        existing = extents.product(job)
    existing = PartitionSet.union([existing, *(hit.partitions for hit in hits)])
    return clamp(touched, dimensions, existing)


def _unread(edge: Edge, dirty: DirtyScope) -> str:
    read = sorted({column for each in edge.columns if each is not None for column in each})
    changed = ", ".join(sorted(dirty.columns or ()))
    return f"changed columns {{{changed}}} are not read; it reads {{{', '.join(read)}}}"


def _untouched(dirty: DirtyScope) -> str:
    return f"{short(dirty.partitions)} touches no partition that it has or can have"


def _rowless(rows: RowFilter) -> str:
    return f"none of its partitions holds rows that meet {rows.spec()}"


def short(partitions: PartitionSet) -> str:
    """A set in few words, for people."""
    texts = partitions.space.texts(partitions)
    return ", ".join(texts[:3]) + (f" and {len(texts) - 3} more" if len(texts) > 3 else "")
