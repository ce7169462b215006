"""Map output partitions up to the input partitions from which they are built."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from enum import Enum
from typing import Final
from uuid import UUID

from engine.lineage.graph import Edge, Lineage
from engine.model.job import Job
from engine.partitions import PartitionSet
from engine.planner.lookup import PartitionLookup


class AnyPartition(Enum):
    """Any partition of a dataset, existing or not."""

    ANY_PARTITION = "any partition"


ANY_PARTITION: Final = AnyPartition.ANY_PARTITION

_Needed = PartitionSet | AnyPartition


def upstream(lineage: Lineage, job: Job, keys: Sequence[str]) -> dict[UUID, _Needed]:
    """Return the partitions needed by output partitions, by producing job; sources are left out.

    ANY_PARTITION, if the set is unbounded or too large to list, or if the last partition counts,
    which is determined only once all partitions being built exist.
    """
    built = _built(lineage, job, keys)
    needed: dict[UUID, _Needed] = {}
    for edge in lineage.inputs(job.id):
        producer = edge.producer
        if not producer.is_source:
            needed[producer.id] = _union_or_any(needed, producer.id, _listed(edge, built))
    return needed


def input_partitions(
    lineage: Lineage, job: Job, keys: Sequence[str], existing: PartitionLookup
) -> dict[UUID, PartitionSet]:
    """Return the partitions read by a run of output partitions, by input dataset.

    Existing partitions count if the mapping is unbounded, takes the last partition, or gives
    more partitions than can be listed.
    """
    built = _built(lineage, job, keys)
    read: dict[UUID, PartitionSet] = {}
    for edge in lineage.inputs(job.id):
        _add(read, edge.dataset, _read(edge, built, existing))
    return read


def up(edge: Edge, built: PartitionSet, existing: Callable[[UUID], PartitionSet]) -> PartitionSet:
    """Return the partitions needed over one edge; only `last` depends on existing partitions."""
    return edge.mapping.up(built, existing(edge.dataset) if edge.mapping.takes_last else None)


def _built(lineage: Lineage, job: Job, keys: Sequence[str]) -> PartitionSet:
    """Return the output partitions of a run; all if single-run, which may discover partitions."""
    space = lineage.job_space(job)
    return space.universe if job.is_single_run else space.from_keys(keys)


def _listed(edge: Edge, built: PartitionSet) -> _Needed:
    needed = edge.mapping.up(built)
    return needed if needed.is_listable() and not edge.mapping.takes_last else ANY_PARTITION


def _union_or_any(sets: dict[UUID, _Needed], key: UUID, other: _Needed) -> _Needed:
    one = sets.get(key, other)
    return ANY_PARTITION if one is ANY_PARTITION or other is ANY_PARTITION else one | other


def _read(edge: Edge, built: PartitionSet, existing: PartitionLookup) -> PartitionSet:
    needed = up(edge, built, existing)
    return needed if needed.is_listable() else needed & existing(edge.dataset)


def _add(sets: dict[UUID, PartitionSet], key: UUID, partitions: PartitionSet) -> None:
    sets[key] = sets[key] | partitions if key in sets else partitions
