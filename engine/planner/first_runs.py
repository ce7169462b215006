"""Partitions that were never built: which there should be, and which of them are due."""

from __future__ import annotations

from engine.lineage.graph import Lineage
from engine.model.job import Job
from engine.partitions import PartitionSet
from engine.planner.extent import Extents, product
from engine.planner.inputs import up
from engine.planner.known import Known
from engine.planner.waiting import missing_inputs

UNIT = "*"
"""Stands for all partitions of a job that builds them together."""


def first_run_is_due(lineage: Lineage, job: Job, key: str, existing: Known) -> bool:
    """Return whether an input of a partition exists, and ``wait_for`` is met.

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
    """The partitions that the existing inputs of a job give it, as far as they have an end.

    Raises KnownNeeded as ``existing`` does.
    """
    space = lineage.job_space(job)
    edges = Extents(lineage, existing).determining(job)
    if not edges:
        return space.universe if space.universe.is_finite else space.empty
    given = [
        edge.mapping.down(there, there)
        for edge, there in ((edge, existing(edge.dataset)) for edge in edges)
    ]
    finite = [each for each in given if each and each.is_finite]
    return PartitionSet.union(finite or [product(list(zip(edges, given, strict=True)))])
