"""Invalidations by changed bounds, key lists and key maps, of jobs that keep their definition."""

from collections.abc import Collection, Iterator, Mapping, Sequence
from datetime import datetime
from uuid import UUID

from engine.flow.deployment.bounds import OtherBounds
from engine.flow.deployment.new_versions import NewVersion
from engine.flow.execution.stale_decisions import load_decided
from engine.flow.shared.appearances import unbuilt
from engine.flow.shared.invalidations import NewInvalidation, definition_change
from engine.flow.shared.load_partitions import load_existing, load_known
from engine.lineage.compiled import CompiledDag
from engine.lineage.graph import Edge, Lineage
from engine.lineage.growth import added
from engine.model.job import Job
from engine.model.states import Activation
from engine.partitions import PartitionSet
from engine.planner import InputChange, reading_otherwise, reads_otherwise
from engine.store.database import Connection

_Edges = tuple[Edge, Edge]
"""An input of a job, before and now."""


async def of_other_inputs(
    conn: Connection,
    before: Lineage | None,
    now: Lineage,
    deployed: Sequence[NewVersion],
    created: Collection[UUID],
) -> list[NewInvalidation]:
    """Invalidations for known outputs that read other existing input partitions than before.

    Inputs have left the bounds, a key map has changed, or another partition is the last one.
    Partitions that enter the bounds are read once they are built. ``created`` are the datasets with
    a new version.
    """
    if before is None:
        return []
    bounds = {dataset: other for new in deployed for dataset, other in new.bounds.items()}
    readers = {edge.job for dataset in bounds for edge in now.readers(dataset)}
    own = {id_ for new in deployed for id_ in _ids(now, new.compiled)}
    invalidations: list[NewInvalidation] = []
    for job in map(now.job, readers | own):
        if job.is_manual or not set(job.outputs).isdisjoint(created):
            continue
        for edges in _inputs(before, now, job):
            if edges[1].dataset in bounds or _has_other_map(edges):
                changes = await _input_changes(conn, now, edges, bounds)
                invalidations += await _of_input(conn, now, job, edges, changes)
    return invalidations


def _ids(lineage: Lineage, compiled: CompiledDag) -> Iterator[UUID]:
    """Yield the ids of the jobs of a DAG, other than sources."""
    for job in compiled.jobs:
        if job.activation != Activation.SOURCE:
            yield lineage.producer(lineage.dataset_named(job.outputs[0]).id).id


def _inputs(before: Lineage, now: Lineage, job: Job) -> Iterator[_Edges]:
    """Yield the inputs that a job has had before."""
    output = before.find_dataset(job.outputs[0])
    if output is not None:
        edges = {edge.input.alias: edge for edge in before.inputs(before.producer(output.id).id)}
        for edge in now.inputs(job.id):
            was = edges.get(edge.input.alias)
            if was is not None and was.dataset == edge.dataset:
                yield was, edge


def _has_other_map(edges: _Edges) -> bool:
    before, now = edges
    return bool(before.input.mapping != now.input.mapping)


async def _input_changes(
    conn: Connection, lineage: Lineage, edges: _Edges, bounds: Mapping[UUID, OtherBounds]
) -> list[InputChange]:
    """Return the change of the existing partitions, and for `last` that of all known ones.

    The plan of a partition that tasks are about to build reaches the readers of the last one only
    if it was to be the last one by the order of that time.
    """
    takes_last = any(edge.mapping.takes_last for edge in edges)
    edge = edges[1]
    if edge.dataset in bounds:
        other = bounds[edge.dataset]
        return [other.change, other.known_change] if takes_last else [other.change]
    sets = [await load_existing(conn, lineage, edge.dataset)]
    if takes_last:
        sets.append(await load_known(conn, lineage, edge.dataset))
    is_source = edge.producer.is_source
    return [InputChange.of(each, each.space, is_source=is_source) for each in sets]


async def _of_input(
    conn: Connection,
    lineage: Lineage,
    job: Job,
    edges: _Edges,
    changes: Sequence[InputChange],
) -> list[NewInvalidation]:
    before, now = (edge.mapping for edge in edges)
    output = lineage.dataset(job.outputs[0])
    texts: Sequence[str | None]
    if job.is_single_run:
        texts = [None] if any(reads_otherwise(before, now, each) for each in changes) else []
    else:
        known = await load_known(conn, lineage, output.id)
        reading = [reading_otherwise(before, now, each, known) for each in changes]
        texts = known.space.texts(PartitionSet.union(reading))
    return [definition_change(output.id, output.version, text) for text in texts]


async def of_entering_partitions(
    conn: Connection, before: Lineage | None, lineage: Lineage, new: NewVersion, now: datetime
) -> list[NewInvalidation]:
    """Invalidations for partitions that new bounds or key maps add, as far as they are in being."""
    if before is None:
        return []
    created = new.created
    invalidations: list[NewInvalidation] = []
    for job in map(lineage.job, _ids(lineage, new.compiled)):
        if job.activation == Activation.REACTIVE and created.isdisjoint(job.outputs):
            if any(map(_has_other_map, _inputs(before, lineage, job))):
                invalidations += await _undecided(conn, lineage, job, now)
            elif job.outputs[0] in new.bounds:
                other = new.bounds[job.outputs[0]]
                invalidations += await _added(conn, lineage, job, other, now)
    return invalidations


async def _undecided(
    conn: Connection, lineage: Lineage, job: Job, now: datetime
) -> list[NewInvalidation]:
    """Return invalidations of all unbuilt partitions, unless a decision leaves them unbuilt."""
    space = lineage.job_space(job)
    decided = {key for _, key in await load_decided(conn, lineage, [job])}
    if job.is_single_run:
        return await unbuilt(
            conn, lineage, job, now, space.universe if not decided else space.empty
        )
    return await unbuilt(conn, lineage, job, now, space.universe - space.from_keys(decided))


async def _added(
    conn: Connection, lineage: Lineage, job: Job, other: OtherBounds, now: datetime
) -> list[NewInvalidation]:
    """Return the invalidation of partitions added by other bounds.

    A `PerUpdate` job has passed over their rows, and reads all rows again.
    """
    partitions = added(other.before, other.now)
    if partitions and job.is_per_update:
        output = lineage.dataset(job.outputs[0])
        return [definition_change(output.id, output.version)]
    return await unbuilt(conn, lineage, job, now, partitions)
