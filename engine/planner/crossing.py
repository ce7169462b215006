"""One edge: does what is dirty of a dataset reach a job that reads it, and where?

The three rules go from the cheapest to the dearest; each widens where it does not know, and says
why where it prunes.
"""

from __future__ import annotations

from collections.abc import Sequence
from typing import NamedTuple
from uuid import UUID

from engine.lineage.columns import PRUNED, DirtyColumns, Pruning, propagate
from engine.lineage.graph import Edge
from engine.lineage.narrowing import narrow
from engine.lineage.rows import RowFilter
from engine.model.job import Job
from engine.partitions import PartitionSet
from engine.planner.dirt import Dirt, union
from engine.planner.extent import Extents, clamp, endless
from engine.planner.plan import Pruned


class Hit(NamedTuple):
    """Output partitions of a job that may have to be recomputed, and what hit them.

    ``dirt`` is of ``dataset`` and came over ``edge``; None: the dataset is the job's own output.
    ``columns`` are dirty of each output, and ``rows`` are the outputs' rows that are.
    """

    dataset: UUID
    edge: Edge | None
    dirt: Dirt
    partitions: PartitionSet
    columns: tuple[DirtyColumns | Pruning, ...]
    rows: RowFilter | None

    @property
    def is_direct(self) -> bool:
        """Whether nothing that is still to run stands before it."""
        return self.edge is None or self.dirt.has_changed


def hit_itself(job: Job, dataset: UUID, dirt: Dirt) -> Hit:
    """An output is wrong: its job has to make those partitions again, with all that they hold."""
    return Hit(dataset, None, dirt, dirt.partitions, (None,) * len(job.outputs), None)


def cross(extents: Extents, job: Job, edge: Edge, dirt: Dirt, hits: Sequence[Hit]) -> Hit | Pruned:
    """Carry dirt over an edge, by columns, then rows and partitions.

    ``hits`` are the job's so far: their partitions count as existing. A job that is one unit runs
    even where it has none yet of those that are touched, for it may find some.
    """
    columns = _shaped(job, edge, dirt)
    if PRUNED in columns and all(each is PRUNED for each in columns):
        return Pruned(edge.dataset, edge.job, "columns", _unread(edge, dirt))
    touched = edge.mapping.down(dirt.partitions, _existing(extents, edge, dirt.partitions))
    rows = dirt.rows and dirt.rows.through(edge.input.passes)
    if touched and rows:
        touched = narrow(rows, touched.space, touched)
        if not touched:
            return Pruned(edge.dataset, edge.job, "rows", _rowless(rows))
    partitions = _with_an_end(extents, job, edge, touched, hits)
    if not partitions and not (touched and job.is_unit):
        return Pruned(edge.dataset, edge.job, "partitions", _untouched(dirt))
    return Hit(edge.dataset, edge, dirt, partitions, columns, rows)


def _shaped(job: Job, edge: Edge, dirt: Dirt) -> tuple[DirtyColumns | Pruning, ...]:
    if dirt.columns is None:
        return (None,) * len(job.outputs)
    return tuple([propagate(each, dirt.columns) for each in edge.columns])


def _with_an_end(
    extents: Extents, job: Job, edge: Edge, touched: PartitionSet, hits: Sequence[Hit]
) -> PartitionSet:
    if edge.mapping.is_identity:
        return touched
    unbounded = edge.unmapped | endless(touched)
    if not unbounded:
        return touched
    there = union([extents.of_job(job), *(hit.partitions for hit in hits)])
    if not there and touched.is_finite and extents.is_undetermined(job):
        return touched
    return clamp(touched, unbounded, there)


def _existing(extents: Extents, edge: Edge, dirty: PartitionSet) -> PartitionSet | None:
    """What a mapping has to find the last partition of; dirt may be newer than what is known."""
    return extents.known(edge.dataset) | dirty if edge.mapping.links.latest else None


def _unread(edge: Edge, dirt: Dirt) -> str:
    read = sorted({column for each in edge.columns if each is not None for column in each})
    changed = ", ".join(sorted(dirt.columns or ()))
    return f"changed columns {{{changed}}} are not read; it reads {{{', '.join(read)}}}"


def _untouched(dirt: Dirt) -> str:
    return f"{short(dirt.partitions)} touches no partition that it has or can have"


def _rowless(rows: RowFilter) -> str:
    return f"none of its partitions holds rows that meet {rows.spec()}"


def short(partitions: PartitionSet) -> str:
    """A set in few words, for people."""
    texts = partitions.space.texts(partitions)
    return ", ".join(texts[:3]) + (f" and {len(texts) - 3} more" if len(texts) > 3 else "")
