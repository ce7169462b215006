"""What the first run of an output partition still waits for, by ``wait_for``: all, any or N.

It counts the inputs of that partition which must exist before it is made for the first time. A
change to any input of an existing partition always re-fires it.
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
    """By input dataset name, the missing partitions as range texts; None when nothing is.

    ``existing`` tells which partitions of an input are there; it is asked only for inputs that
    are waited for. One may be missing to several outputs of a task, which waits for all of them.
    Without ``keys``, a job that builds its partitions together needs all that any could need.
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
    """Each output partition counts its own inputs; those of one unit count them together."""
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
        # Without an end there is no all: what exists is all, once there is something.
        return missing != needed
    least = needed.count() if wait_for == "all" else min(int(wait_for), needed.count())
    return needed.count() - missing.count() >= least
