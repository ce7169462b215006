"""Partitions of earlier dataset versions that the new versions must contain as well.

The inputs of a new version give the partitions that events have named. Earlier versions may have
been built from further rows of sources, for example by a backfill.
"""

from __future__ import annotations

from collections.abc import Collection, Mapping
from datetime import datetime
from uuid import UUID

from engine.lineage.graph import Edge, Lineage
from engine.model.job import Job
from engine.partitions import PartitionSet
from engine.planner.bounds import Extents
from engine.planner.lookup import PartitionLookup


def retained_partitions(
    lineage: Lineage,
    earlier: Mapping[UUID, PartitionSet],
    created: Collection[UUID],
    known: PartitionLookup,
    now: datetime,
) -> dict[UUID, PartitionSet]:
    """Return the earlier partitions that the inputs of new dataset versions can give but do not.

    ``created`` are the datasets with new versions. Jobs that discover their partitions are left
    out: their next run decides which ones still exist.

    Raises:
        MissingState: raised by ``known``; names all datasets found to be missing in one pass.
    """
    extents = Extents(lineage, known, now)
    retained: dict[UUID, PartitionSet] = {}
    further: dict[UUID, PartitionSet] = {}
    for dataset in sorted(earlier, key=lambda each: lineage.rank[lineage.producer(each).id.int]):
        job = lineage.producer(dataset)
        if _discovers(lineage, job) or not earlier[dataset]:
            continue
        reached = [
            edge.mapping.down(possible, possible)
            for edge in extents.determining(job)
            if (possible := _possible(lineage, extents, edge, created, retained))
        ]
        if reached:
            retained[dataset] = earlier[dataset] & PartitionSet.union(reached)
            further[dataset] = retained[dataset] - extents.of(dataset)
    extents.check_loaded()
    return {dataset: partitions for dataset, partitions in further.items() if partitions}


def given_partitions(
    lineage: Lineage, dataset: UUID, known: PartitionLookup, now: datetime
) -> PartitionSet:
    """Return the known partitions of a dataset; without any, those its inputs give.

    Raises:
        MissingState: raised by ``known``; names all datasets found to be missing in one pass.
    """
    extents = Extents(lineage, known, now)
    given = extents.of(dataset)
    extents.check_loaded()
    return given


def _discovers(lineage: Lineage, job: Job) -> bool:
    return job.is_single_run and not lineage.job_space(job).universe.is_finite


def _possible(
    lineage: Lineage,
    extents: Extents,
    edge: Edge,
    created: Collection[UUID],
    retained: Mapping[UUID, PartitionSet],
) -> PartitionSet:
    """Return the input partitions that may have rows.

    Rows of an input without a new version may have been read in any of its partitions.
    """
    if edge.dataset not in created:
        return lineage.space(edge.dataset).universe
    known = extents.of(edge.dataset)
    return known | retained[edge.dataset] if edge.dataset in retained else known
