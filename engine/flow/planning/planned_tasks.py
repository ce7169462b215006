"""Derive the tasks of a plan, joined with existing tasks, and their blockers.

A block of a job has at most one open, unstarted task, joined by any further need. A running task
may have read the old data, so a new task is queued behind it. A task waits for all unfinished tasks
that produce its inputs, regardless of their plan.

A plan may have 50,000 tasks, each looked up many times. Tasks are therefore keyed by the bytes of
their ids, the format of COPY, and jobs by the integers of theirs. Both types hash in C, while UUIDs
hash in Python.
"""

from collections.abc import Callable, Iterator, Mapping, Sequence
from functools import cache
from itertools import product
from typing import Any
from uuid import UUID

import msgspec

from engine.errors import TooManyPartitions
from engine.lineage.graph import Lineage
from engine.model.job import Job
from engine.model.states import TaskStatus
from engine.planner import (
    ALL_SCOPES,
    Plan,
    Step,
    TriggeringEdges,
    cached_step_blocks,
    propagated_scopes,
    triggering_edges_of,
    upstream,
)
from engine.planner.blocks import SINGLE_RUN_BLOCK
from engine.planner.inputs import ANY_PARTITION
from engine.store.ids import new_id_bytes
from engine.store.rows.tasks import UnfinishedTask

_MAX_LINKS = 10_000_000
"""Limit of links in one plan from tasks to the producers of their inputs."""
ANY_BLOCK = ""
TaskKey = tuple[int, str]
"""A job id as an integer, and a block key; ``ANY_BLOCK`` stands for all tasks of the job."""
Unfinished = Mapping[TaskKey, Sequence[UnfinishedTask]]


class PlannedTask(msgspec.Struct, gc=False):
    """A task to be created or joined, with its blockers.

    ``upstream`` are the tasks that produce its inputs. ``triggering_edges`` has the dirty datasets
    through which the plan reaches the task, by producing job. ``blockers`` has them by blocking
    task: empty if that task merely has to end first. ``may_wait``: inputs can delay its first run.
    """

    job: Job
    key: TaskKey
    partitions: tuple[str, ...]
    is_directly_invalidated: bool
    is_if_stale: bool
    propagated: bytes | None
    row_filters: tuple[Mapping[str, Any] | None, ...]
    upstream: Sequence[TaskKey]
    triggering_edges: TriggeringEdges
    may_wait: bool
    id: bytes = msgspec.field(default_factory=new_id_bytes)
    is_joined: bool = False
    blockers: dict[bytes, tuple[UUID, ...]] = msgspec.field(default_factory=dict)

    @property
    def must_run(self) -> bool:
        """Return True if invalidated directly, or by upstream tasks already done with the plan."""
        return self.is_directly_invalidated or not (self.is_if_stale or any(self.blockers.values()))

    @property
    def starts_blocked(self) -> bool:
        """Return True if the task has a blocker, or has to be checked before its run."""
        return bool(self.blockers) or self.is_if_stale or self.may_wait


def planned_tasks(lineage: Lineage, plan: Plan) -> Iterator[PlannedTask]:
    """Yield the tasks of a plan. Raises TooManyPartitions."""
    blocks_of, links = cached_step_blocks(), 0
    for step in plan.steps:
        job = lineage.job(step.job)
        propagated = _propagated(step, job)
        if_stale = frozenset(step.if_stale.space.keys(step.if_stale) if step.if_stale else ())
        triggering, identical = triggering_edges_of(step, job), _identity_producers(lineage, job)
        may_wait = job.waits_for_inputs
        for block_key, keys, must_run in blocks_of(step, job):
            producers = (
                _mapped_producers(lineage, job, keys)
                if identical is None
                else product(identical, keys)
            )
            task = PlannedTask(
                job,
                (job.id.int, block_key),
                keys,
                must_run,
                bool(if_stale) and if_stale.issuperset(keys),
                propagated(keys),
                step.row_filters,
                list(producers),
                triggering(keys),
                may_wait,
            )
            links += len(task.upstream)
            if links > _MAX_LINKS:
                raise TooManyPartitions(
                    f"the plan links its tasks to more than {_MAX_LINKS:,} tasks that make their "
                    "inputs; invalidate fewer partitions at once, or raise partitions_per_task"
                )
            yield task


def _propagated(step: Step, job: Job) -> Callable[[tuple[str, ...]], bytes | None]:
    """Return a function from partition keys to propagated scopes as stored: JSON, null for all."""
    if not step.is_narrow:
        return lambda _: None
    scopes_of = propagated_scopes(step, job)

    @cache
    def of_task(keys: tuple[str, ...]) -> bytes | None:
        scopes = scopes_of(keys)
        return None if scopes is ALL_SCOPES else msgspec.json.encode(scopes)

    return of_task


def _identity_producers(lineage: Lineage, job: Job) -> list[int] | None:
    """Return the producers of a job's inputs if all edges map keys to themselves, else None.

    Each producer must also have a separate task for every key. Source jobs are left out.
    """
    if job.is_single_run:
        return None
    producers = []
    for edge in lineage.inputs(job.id):
        producer = edge.producer
        if producer.is_source:
            continue
        if not edge.mapping.is_identity or not producer.has_task_for_each_key:
            return None
        producers.append(producer.id.int)
    return producers


def _mapped_producers(lineage: Lineage, job: Job, keys: Sequence[str]) -> Iterator[TaskKey]:
    for producer_id, partitions in upstream(lineage, job, keys).items():
        producer = lineage.job(producer_id)
        if producer.is_single_run:
            yield (producer_id.int, SINGLE_RUN_BLOCK)
        elif partitions is ANY_PARTITION:
            yield (producer_id.int, ANY_BLOCK)
        else:
            blocks = partitions.space.blocks(partitions, producer.max_partitions_per_run)
            yield from ((producer_id.int, block_key) for block_key, _ in blocks)


def join_unstarted(tasks: Sequence[PlannedTask], unfinished: Unfinished) -> None:
    """Join the unstarted or failed task of each key, or queue behind a running one.

    A running task blocks without datasets, because changes since its start show only at its end.
    """
    for task in tasks:
        for row in unfinished.get(task.key, ()):
            if row.status == TaskStatus.RUNNING:
                task.blockers[row.id.bytes] = ()
            else:
                task.id, task.is_joined = row.id.bytes, True


def add_blockers(tasks: Sequence[PlannedTask], unfinished: Unfinished) -> None:
    """Make each task wait for all of its upstream tasks, unfinished or about to be created."""
    ids_by_key = _ids_by_key(tasks, unfinished)
    for task in tasks:
        for key in task.upstream:
            if key in ids_by_key:
                datasets = task.triggering_edges.get(key[0], ())
                for blocker in ids_by_key[key]:
                    task.blockers[blocker] = datasets


def keys_behind(lineage: Lineage, task: PlannedTask) -> list[TaskKey]:
    """Return the keys of tasks of the same job that read a task's partitions as earlier ones."""
    edge = lineage.self_edge(task.job.id)
    if edge is None:
        return []
    space = lineage.space(edge.dataset)
    following = edge.mapping.down(space.from_keys(task.partitions))
    return [(task.job.id.int, key) for key in space.keys(following)]


def behind_earlier(
    lineage: Lineage, tasks: Sequence[PlannedTask], unfinished: Unfinished
) -> list[tuple[bytes, bytes]]:
    """Return unstarted tasks with the tasks of earlier partitions for which they have to wait."""
    return [
        (row.id.bytes, task.id)
        for task in tasks
        for key in keys_behind(lineage, task)
        for row in unfinished.get(key, ())
        if row.status in (TaskStatus.BLOCKED, TaskStatus.QUEUED)
    ]


def _ids_by_key(
    tasks: Sequence[PlannedTask], unfinished: Unfinished
) -> Mapping[TaskKey, Sequence[bytes]]:
    """Return the ids of the tasks of each key, unfinished or about to be created."""
    ids = {key: [row.id.bytes for row in rows] for key, rows in unfinished.items()}
    whole_jobs = {
        job for task in tasks for job, block_key in task.upstream if block_key == ANY_BLOCK
    }
    for task in tasks:
        job, _ = task.key
        ids.setdefault(task.key, []).append(task.id)
        if job in whole_jobs:
            ids.setdefault((job, ANY_BLOCK), []).append(task.id)
    return ids
