"""Up from output partitions, by the same mappings: what they are made from."""

from __future__ import annotations

from collections.abc import Sequence
from uuid import UUID

from engine.lineage.graph import Edge, Lineage
from engine.model.job import Job
from engine.partitions import PartitionSet
from engine.partitions.limits import is_listable
from engine.planner.known import Known


def upstream(lineage: Lineage, job: Job, keys: Sequence[str]) -> dict[UUID, PartitionSet | None]:
    """By producing job, the partitions that these output partitions need of it; not of sources.

    None: any of them, where there is no end to them or too many to list, or where it is the last
    one that counts: which that will be is known only when all that are being made are there.
    """
    made = _made(lineage, job, keys)
    needed: dict[UUID, PartitionSet | None] = {}
    for edge in lineage.inputs(job.id):
        producer = edge.producer
        if producer.activation != "source":
            needed[producer.id] = _either(needed, producer.id, _certain(edge, made))
    return needed


def input_partitions(
    lineage: Lineage, job: Job, keys: Sequence[str], known: Known
) -> dict[UUID, PartitionSet]:
    """By input dataset, the partitions that a run of these output partitions reads.

    Where the mapping gives no end, wants the last one, or gives more partitions than can be listed,
    it is what is known that counts.
    """
    made = _made(lineage, job, keys)
    read: dict[UUID, PartitionSet] = {}
    for edge in lineage.inputs(job.id):
        _add(read, edge.dataset, _read(edge, made, known))
    return read


def up(edge: Edge, made: PartitionSet, known: Known) -> PartitionSet:
    """What the partitions made need over one edge; only `last` asks what is known."""
    return edge.mapping.up(made, known(edge.dataset) if edge.mapping.takes_last else None)


def _made(lineage: Lineage, job: Job, keys: Sequence[str]) -> PartitionSet:
    """What a run makes; one unit may find partitions that nobody knows yet, so it is all."""
    space = lineage.job_space(job)
    return space.universe if job.is_unit else space.from_keys(keys)


def _certain(edge: Edge, made: PartitionSet) -> PartitionSet | None:
    needed = edge.mapping.up(made)
    return needed if is_listable(needed) and not edge.mapping.takes_last else None


def _either(
    sets: dict[UUID, PartitionSet | None], key: UUID, other: PartitionSet | None
) -> PartitionSet | None:
    one = sets.get(key, other)
    return None if one is None or other is None else one | other


def _read(edge: Edge, made: PartitionSet, known: Known) -> PartitionSet:
    needed = up(edge, made, known)
    return needed if is_listable(needed) else needed & known(edge.dataset)


def _add(sets: dict[UUID, PartitionSet], key: UUID, partitions: PartitionSet) -> None:
    sets[key] = sets[key] | partitions if key in sets else partitions
