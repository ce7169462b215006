"""Blocks of partitions: the tasks of a step."""

from __future__ import annotations

from collections.abc import Callable, Iterator, Sequence

from engine.lineage.graph import Lineage
from engine.model.job import Job
from engine.partitions import PartitionSpace
from engine.planner.plan import Step

SINGLE_RUN_BLOCK = "*"
"""Key of the block of a single-run job."""

TaskBlock = tuple[str, tuple[str, ...], bool]
"""(block key, partition keys, whether the task must run)."""


def cached_step_blocks() -> Callable[[Step, Job], Sequence[TaskBlock]]:
    """Return a function from a step to its tasks; equal steps of a plan are divided once.

    Most steps of a wave share the same partitions, as one object.
    """
    blocks_by_step: dict[tuple[int, int, int, bool, int], Sequence[TaskBlock]] = {}

    def needs(step: Step, job: Job) -> Sequence[TaskBlock]:
        alike = (
            id(step.partitions),
            id(step.directly_invalidated),
            id(step.later),
            job.is_single_run,
            job.max_partitions_per_run,
        )
        if alike not in blocks_by_step:
            blocks_by_step[alike] = list(step_blocks(step, job))
        return blocks_by_step[alike]

    return needs


def step_blocks(step: Step, job: Job) -> Iterator[TaskBlock]:
    """Yield the tasks of a step, in the order of the partitions.

    A block is a fixed set of up to ``max_partitions_per_run`` neighbors, so that triggers of any
    neighbor find the same task: a `PerPartition` job has a task for each triggered block, with the
    triggered keys. A single-run job has one task, with all keys.
    """
    space = step.partitions.space
    if job.is_single_run:
        must_run = bool(step.directly_invalidated) or not step.partitions
        yield SINGLE_RUN_BLOCK, tuple(space.keys(step.partitions)), must_run
        return
    invalidated = _keys(step, space)
    for block_key, keys in space.blocks(step.with_tasks, job.max_partitions_per_run):
        yield block_key, tuple(keys), not invalidated.isdisjoint(keys)


def task_count(step: Step, lineage: Lineage) -> int:
    """Return the number of tasks of a step, without listing keys if each partition is a task."""
    job = lineage.job(step.job)
    if job.has_task_for_each_key:
        return step.with_tasks.count()
    return sum(1 for _ in step_blocks(step, job))


def _keys(step: Step, space: PartitionSpace) -> frozenset[str]:
    return (
        frozenset(space.keys(step.directly_invalidated))
        if step.directly_invalidated
        else frozenset()
    )
