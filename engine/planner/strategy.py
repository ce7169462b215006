"""What a job makes of its hits, by its execution strategy."""

from __future__ import annotations

from collections.abc import Iterator, Mapping, Sequence
from functools import reduce
from operator import or_
from typing import Any

from engine.lineage.columns import PRUNED, widest
from engine.lineage.rows import RowFilter
from engine.model.job import Job
from engine.partitions import PartitionSet
from engine.planner.crossing import Hit
from engine.planner.dirt import Dirt, coalesce, union
from engine.planner.extent import Extents

_NEW_ROWS = RowFilter()


def recomputed(job: Job, extents: Extents, hits: Sequence[Hit]) -> PartitionSet:
    """The hit partitions of a `PerPartition` job; `Full` and `PerUpdate` are one unit, the whole.

    The whole is what finite bounds allow, else what the outputs reach.
    """
    partitions = union([hit.partitions for hit in hits])
    if not job.is_unit:
        return partitions
    universe = partitions.space.universe
    return universe if universe.is_finite else extents.of_job(job) | partitions


def recomputed_for_sure(job: Job, hits: Sequence[Hit], whole: PartitionSet) -> PartitionSet:
    """What is hit directly; of one unit all or nothing."""
    direct = [hit.partitions for hit in hits if hit.is_direct]
    if not direct:
        return whole.space.empty
    if job.is_unit or len(direct) == len(hits):
        return whole
    return union(direct)


def row_filters(job: Job, hits: Sequence[Hit]) -> tuple[Mapping[str, Any] | None, ...]:
    """What a `PerUpdate` job reads again of the input that it follows.

    Any of: the rows of a filter, ``{}`` for the new rows behind the cursor, None for all rows.
    Other strategies read whole partitions and have none.
    """
    if job.strategy != "PerUpdate":
        return ()
    wanted = [_read_again(hit) for hit in hits]
    if None in wanted:
        return (None,)
    return tuple(rows.spec() for rows in dict.fromkeys(rows for rows in wanted if rows is not None))


def dirty_outputs(job: Job, hits: Sequence[Hit], whole: PartitionSet) -> Iterator[Sequence[Dirt]]:
    """What the job's step makes dirty of each of its outputs."""
    grows = job.update_strategy == "append" and all(hit.edge and hit.dirt.has_grown for hit in hits)
    for i in range(len(job.outputs)):
        dirt = [
            Dirt(hit.partitions, columns, hit.rows, hit.dirt.causes, has_changed=False)
            for hit in hits
            if (columns := hit.columns[i]) is not PRUNED
        ]
        yield coalesce(dirt) if not job.is_unit else _as_one(dirt, whole, grows)


def _read_again(hit: Hit) -> RowFilter | None:
    """The rows that a hit is about; a filter without conditions means those that are new."""
    if hit.edge is None or hit.edge.input.cursor is None:
        return None
    return hit.dirt.rows or (_NEW_ROWS if hit.dirt.has_grown else None)


def _as_one(dirt: Sequence[Dirt], whole: PartitionSet, grows: bool) -> Sequence[Dirt]:
    if not dirt or not whole:
        return ()
    columns = reduce(widest, (each.columns for each in dirt))
    causes = reduce(or_, (each.causes for each in dirt))
    return [Dirt(whole, columns, None, causes, has_changed=False, has_grown=grows)]
