"""From a step to its tasks."""

from __future__ import annotations

from collections.abc import Iterator

from engine.lineage.graph import Lineage
from engine.partitions import PartitionSpace
from engine.planner.plan import Step

WHOLE = "*"
"""The slot of a job that is one unit."""

TaskNeed = tuple[str, tuple[str, ...], bool]
"""(slot, partition keys, whether it runs for sure)."""


def needs(step: Step, lineage: Lineage) -> Iterator[TaskNeed]:
    """The tasks of a step, in the order of its partitions.

    A `PerPartition` job has one for each block of up to ``partitions_per_task`` neighbours, with
    their keys. `Full` and `PerUpdate` jobs have one, with all of them.
    """
    job = lineage.job(step.job)
    space = lineage.job_space(job)
    if job.is_unit:
        is_sure = bool(step.direct) or not step.partitions
        yield WHOLE, tuple(space.keys(step.partitions)), is_sure
        return
    sure = _keys(step, space)
    for slot, keys in space.blocks(step.partitions, job.partitions_per_task):
        yield slot, tuple(keys), not sure.isdisjoint(keys)


def task_count(step: Step, lineage: Lineage) -> int:
    """How many tasks `needs` gives, without their keys where each partition is a task."""
    job = lineage.job(step.job)
    return (
        step.partitions.count()
        if job.has_task_for_each_key
        else sum(1 for _ in needs(step, lineage))
    )


def _keys(step: Step, space: PartitionSpace) -> frozenset[str]:
    return frozenset(space.keys(step.direct)) if step.direct else frozenset()
