"""From a step to the tasks that it needs."""

from __future__ import annotations

from collections.abc import Callable, Iterator, Sequence

from engine.lineage.graph import Lineage
from engine.model.job import Job
from engine.partitions import PartitionSpace
from engine.planner.plan import Step

WHOLE = "*"
"""The slot of a job that is one unit."""

TaskNeed = tuple[str, tuple[str, ...], bool]
"""(slot, partition keys, whether it runs for sure)."""


def needs_of_steps() -> Callable[[Step, Job], Sequence[TaskNeed]]:
    """How to tell the tasks of each step of one plan: steps that are alike are cut up once.

    Most steps of a wave are about the same partitions, which are one object then.
    """
    found: dict[tuple[int, int, bool, int], Sequence[TaskNeed]] = {}

    def needs(step: Step, job: Job) -> Sequence[TaskNeed]:
        alike = id(step.partitions), id(step.direct), job.is_unit, job.partitions_per_task
        if alike not in found:
            found[alike] = list(task_needs(step, job))
        return found[alike]

    return needs


def task_needs(step: Step, job: Job) -> Iterator[TaskNeed]:
    """The tasks that a step needs, in the order of its partitions.

    A slot is a fixed block of up to ``partitions_per_task`` neighbours, so that whatever hits one
    of them finds the same task: a `PerPartition` job has a task for each slot that is hit, with
    the keys that are. A job that is one unit has one task, with all of them.
    """
    space = step.partitions.space
    if job.is_unit:
        is_sure = bool(step.direct) or not step.partitions
        yield WHOLE, tuple(space.keys(step.partitions)), is_sure
        return
    sure = _keys(step, space)
    for slot, keys in space.blocks(step.partitions, job.partitions_per_task):
        yield slot, tuple(keys), not sure.isdisjoint(keys)


def task_count(step: Step, lineage: Lineage) -> int:
    """How many tasks a step needs, without their keys where each partition is a task."""
    job = lineage.job(step.job)
    if job.has_task_for_each_key:
        return step.partitions.count()
    return sum(1 for _ in task_needs(step, job))


def _keys(step: Step, space: PartitionSpace) -> frozenset[str]:
    return frozenset(space.keys(step.direct)) if step.direct else frozenset()
