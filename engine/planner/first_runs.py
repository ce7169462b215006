"""Partitions that were never built: the expected and the due ones."""

from __future__ import annotations

from collections.abc import Sequence

from engine.lineage.graph import Edge, Lineage
from engine.model.job import Job
from engine.partitions import PartitionSet
from engine.planner.extent import Extents, clamp, product
from engine.planner.inputs import up
from engine.planner.known import Known
from engine.planner.waiting import missing_inputs

UNIT = "*"
"""Key that stands for all partitions of a job that builds them together."""


def first_run_is_due(lineage: Lineage, job: Job, key: str, existing: Known) -> bool:
    """Return True if an input of a partition exists, and ``wait_for`` is met.

    Raises KnownNeeded as ``existing`` does.
    """
    space = lineage.job_space(job)
    made = space.universe if key == UNIT and job.is_unit else space.parse(key)
    edges = Extents(lineage, existing).determining(job)
    has_input = not edges or any(
        up(edge, made, existing) & existing(edge.dataset) for edge in edges
    )
    keys = list(space.keys(made)) if made.is_finite else []
    return has_input and missing_inputs(lineage, job, keys, existing) is None


def expected_partitions(lineage: Lineage, job: Job, existing: Known) -> PartitionSet:
    """Return the partitions that the existing inputs of a job give it, as far as finite.

    If no input determines all dimensions, an input gives only partitions whose other keys come from
    further inputs, provided such inputs exist. Raises KnownNeeded as ``existing`` does.
    """
    space = lineage.job_space(job)
    edges = Extents(lineage, existing).determining(job)
    if not edges:
        return space.universe if space.universe.is_finite else space.empty
    given = [
        (edge, edge.mapping.down(there, there))
        for edge, there in ((edge, existing(edge.dataset)) for edge in edges)
    ]
    finite = [(edge, each) for edge, each in given if each and each.is_finite]
    if not finite:
        return product(given)
    return PartitionSet.union([_also_given(given, edge, each) for edge, each in finite])


def _also_given(
    given: Sequence[tuple[Edge, PartitionSet]], edge: Edge, partitions: PartitionSet
) -> PartitionSet:
    """Restrict an edge's partitions by other inputs in the dimensions that the edge leaves open."""
    for dimension in edge.unmapped:
        others = [each for other, each in given if dimension not in other.unmapped]
        if others:
            partitions = clamp(partitions, {dimension}, PartitionSet.union(others))
    return partitions
