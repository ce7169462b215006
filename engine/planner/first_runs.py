"""First runs: the partitions never built, and the inputs for which they wait.

The condition ``wait_for`` (all, any, N or all but N) counts the inputs of an output partition that
must exist before it is built for the first time. A change to any input of an existing partition
always triggers a rebuild. Partitions that are not in being are not expected, and no first run waits
for them.
"""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from datetime import datetime
from uuid import UUID

from engine.lineage.graph import Edge, Lineage
from engine.model.job import AllBut, Awaited, Job, WaitFor
from engine.partitions import PartitionSet
from engine.planner.bounds import Extents, clamp, product
from engine.planner.in_being import in_being
from engine.planner.inputs import up
from engine.planner.lookup import PartitionLookup

_MAX_TEXTS = 1_000

SINGLE_RUN_KEY = "*"
"""Key that stands for all partitions of a single-run job."""


def first_run_is_due(
    lineage: Lineage, job: Job, key: str, existing: PartitionLookup, now: datetime
) -> bool:
    """Return True if an input of a partition exists, and ``wait_for`` is met.

    Raises MissingState as ``existing`` does.
    """
    if not is_expected(lineage, job, key, existing, now):
        return False
    built = _partition(lineage, job, key)
    keys = list(built.space.keys(built)) if built.is_finite else []
    return missing_inputs(lineage, job, keys, existing, now) is None


def is_expected(
    lineage: Lineage, job: Job, key: str, existing: PartitionLookup, now: datetime
) -> bool:
    """Return True if a partition in being has an input, whatever its first run waits for.

    A single-run job runs for any input, even if no partition is in being yet.
    Raises MissingState as ``existing`` does.
    """
    built = _partition(lineage, job, key)
    if not (
        job.is_single_run or in_being(lineage, job, built, now, existing.among, existing.among)
    ):
        return False
    edges = Extents(lineage, existing, now).determining(job)
    return not edges or any(up(edge, built, existing) & existing(edge.dataset) for edge in edges)


def _partition(lineage: Lineage, job: Job, key: str) -> PartitionSet:
    """Return the partition of a key; all partitions for the key of a single-run job."""
    space = lineage.job_space(job)
    return space.universe if key == SINGLE_RUN_KEY and job.is_single_run else space.parse(key)


def expected_partitions(
    lineage: Lineage, job: Job, existing: PartitionLookup, now: datetime
) -> PartitionSet:
    """Return the partitions in being that the existing inputs of a job give it, as far as finite.

    If no input determines all dimensions, an input gives only partitions whose other keys come from
    further inputs, provided such inputs exist. A single-run job with finite bounds has all
    partitions within the bounds, whichever input exists. Raises MissingState as ``existing`` does.
    """
    given = _given_partitions(lineage, job, Extents(lineage, existing, now), existing)
    return in_being(lineage, job, given, now, existing.among, existing.among)


def _given_partitions(
    lineage: Lineage, job: Job, extents: Extents, existing: PartitionLookup
) -> PartitionSet:
    space = lineage.job_space(job)
    edges = extents.determining(job)
    if not edges:
        return space.universe if space.universe.is_finite else space.empty
    given = [
        (edge, edge.mapping.down(existing_inputs, existing_inputs))
        for edge, existing_inputs in ((edge, existing(edge.dataset)) for edge in edges)
    ]
    if job.is_single_run and space.universe.is_finite:
        return space.universe if any(partitions for _, partitions in given) else space.empty
    finite = [
        (edge, partitions) for edge, partitions in given if partitions and partitions.is_finite
    ]
    if not finite:
        return product(given)
    return PartitionSet.union([_also_given(given, edge, partitions) for edge, partitions in finite])


def _also_given(
    given: Sequence[tuple[Edge, PartitionSet]], edge: Edge, partitions: PartitionSet
) -> PartitionSet:
    """Restrict an edge's partitions by other inputs in the dimensions that the edge leaves open."""
    for dimension in edge.unmapped:
        others = [reached for other, reached in given if dimension not in other.unmapped]
        if others:
            partitions = clamp(partitions, {dimension}, PartitionSet.union(others))
    return partitions


def missing_inputs(
    lineage: Lineage, job: Job, keys: Sequence[str], existing: PartitionLookup, now: datetime
) -> dict[str, list[str]] | None:
    """Return the missing partitions as range texts, by input dataset name; None if none is missing.

    ``existing`` returns the existing partitions of an input, and is called only for awaited inputs
    and for theirs, as partitions that are still to come are not missing.
    A task waits for the missing partitions of all its outputs, which may overlap. Without ``keys``,
    a single-run job needs the inputs of all possible partitions.
    """
    waiting: dict[str, PartitionSet] = {}
    for edge in lineage.inputs(job.id):
        if edge.input.wait_for == Awaited.ANY:
            continue
        for built in _groups(lineage, job, keys):
            missing = _missing(lineage, edge, built, existing, now)
            if missing:
                name = edge.input.name
                waiting[name] = waiting[name] | missing if name in waiting else missing
    return {
        name: missing.space.first_texts(missing, _MAX_TEXTS) for name, missing in waiting.items()
    } or None


def _groups(lineage: Lineage, job: Job, keys: Sequence[str]) -> Iterator[PartitionSet]:
    """Return groups of output partitions with inputs counted together; one group if single-run."""
    space = lineage.job_space(job)
    if job.is_single_run:
        return iter([space.from_keys(keys) if keys else space.universe])
    return (space.from_keys([key]) for key in keys)


def _missing(
    lineage: Lineage, edge: Edge, built: PartitionSet, existing: PartitionLookup, now: datetime
) -> PartitionSet:
    existing_inputs = existing(edge.dataset)

    def those_in_being(partitions: PartitionSet) -> PartitionSet:
        return in_being(lineage, edge.producer, partitions, now, existing.among, existing.among)

    def last_among(_: UUID) -> PartitionSet:
        return existing_inputs or those_in_being(existing_inputs.space.universe)

    needed = up(edge, built, last_among)
    if needed.is_finite:
        needed = those_in_being(needed)
    if edge.is_self:
        needed = _expected_among(lineage, edge.producer, needed, existing, now)
    missing = needed - existing_inputs
    return needed.space.empty if _is_enough(edge.input.wait_for, needed, missing) else missing


def _expected_among(
    lineage: Lineage,
    job: Job,
    partitions: PartitionSet,
    existing: PartitionLookup,
    now: datetime,
) -> PartitionSet:
    """Return those of a job's own partitions that exist or have an input: a chain has a first."""
    keys = partitions.space.keys(partitions)
    expected = [key for key in keys if is_expected(lineage, job, key, existing, now)]
    existing_ones = existing.among(job.outputs[0], partitions) & partitions
    return partitions.space.from_keys(expected) | existing_ones


def _is_enough(wait_for: WaitFor, needed: PartitionSet, missing: PartitionSet) -> bool:
    if not needed.is_finite:
        # An unbounded set has no 'all': whatever exists counts as complete, once anything does.
        return missing != needed
    if isinstance(wait_for, AllBut):
        return missing.count() <= wait_for.all_but
    least = needed.count() if wait_for == Awaited.ALL else min(int(wait_for), needed.count())
    return needed.count() - missing.count() >= least
