"""Missing inputs of first runs, by ``wait_for``: all, any or N.

Counts the inputs of an output partition that must exist before it is built for the first time. A
change to any input of an existing partition always triggers a rebuild.
"""

from __future__ import annotations

from collections.abc import Iterator, Sequence

from engine.lineage.graph import Edge, Lineage
from engine.model.job import Job, WaitFor
from engine.partitions import PartitionSet
from engine.planner.inputs import up
from engine.planner.known import Known

_MAX_TEXTS = 1_000


def missing_inputs(
    lineage: Lineage, job: Job, keys: Sequence[str], existing: Known
) -> dict[str, list[str]] | None:
    """Return the missing partitions as range texts, by input dataset name; None if none is missing.

    ``existing`` returns the existing partitions of an input, and is called only for awaited inputs.
    A task waits for the missing partitions of all its outputs, which may overlap. Without ``keys``,
    a job that builds its partitions together needs the inputs of all possible partitions.
    """
    waiting: dict[str, PartitionSet] = {}
    for edge in lineage.inputs(job.id):
        if edge.input.wait_for == "any":
            continue
        for made in _counted_together(lineage, job, keys):
            missing = _missing(edge, made, existing)
            if missing:
                name = edge.input.name
                waiting[name] = waiting[name] | missing if name in waiting else missing
    return {
        name: each.space.first_texts(each, _MAX_TEXTS) for name, each in waiting.items()
    } or None


def _counted_together(lineage: Lineage, job: Job, keys: Sequence[str]) -> Iterator[PartitionSet]:
    """Return groups of output partitions with inputs counted together; one group if single-run."""
    space = lineage.job_space(job)
    if job.is_unit:
        return iter([space.from_keys(keys) if keys else space.universe])
    return (space.from_keys([key]) for key in keys)


def _missing(edge: Edge, made: PartitionSet, existing: Known) -> PartitionSet:
    there = existing(edge.dataset)
    needed = up(edge, made, lambda _: there)
    missing = needed - there
    return needed.space.empty if _is_enough(edge.input.wait_for, needed, missing) else missing


def _is_enough(wait_for: WaitFor, needed: PartitionSet, missing: PartitionSet) -> bool:
    if not needed.is_finite:
        # An unbounded set has no 'all': whatever exists counts as complete, once anything does.
        return missing != needed
    least = needed.count() if wait_for == "all" else min(int(wait_for), needed.count())
    return needed.count() - missing.count() >= least
