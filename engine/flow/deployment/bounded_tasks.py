"""Unfinished tasks with partitions that a deploy has removed from the bounds of their dataset."""

from collections.abc import Mapping, Sequence
from uuid import UUID

from engine.flow.deployment.bounds import OtherBounds
from engine.flow.execution.unverified import mark_partly_written
from engine.flow.shared.invalidations import NewInvalidation, definition_change
from engine.lineage.graph import Lineage
from engine.model.job import Job
from engine.model.states import TaskStatus
from engine.partitions import PartitionSpace
from engine.store.database import Connection
from engine.store.rows.stale import OpenTask
from engine.store.rows.tasks import CanceledTask
from engine.store.run import execute, fetch

_OUTSIDE = "superseded: a deploy removed partitions of the task"


async def trim_tasks(
    conn: Connection, lineage: Lineage, bounds: Mapping[UUID, OtherBounds]
) -> tuple[list[CanceledTask], list[NewInvalidation]]:
    """Remove partitions outside the new bounds from unfinished tasks.

    Running tasks are canceled, and their other partitions invalidated. Tasks without any other
    partition are canceled too. Returns the canceled tasks, and the invalidations.
    """
    canceled: list[CanceledTask] = []
    invalidations: list[NewInvalidation] = []
    for dataset, other in bounds.items():
        job = lineage.producer(dataset)
        if other.is_kept and other.has_shrunk and job.outputs[0] == dataset:
            for task in await _trim_tasks_of(conn, job, other.now):
                canceled.append(task)
                invalidations += await _rebuild(conn, lineage, job, task)
    return canceled, invalidations


async def _trim_tasks_of(conn: Connection, job: Job, space: PartitionSpace) -> list[CanceledTask]:
    tasks = await fetch(conn, "tasks.lock_open", OpenTask, job=job.id)
    inside = {task.id: space.inside(task.partitions) for task in tasks}
    ended = [task.id for task in tasks if _must_end(job, task, inside[task.id])]
    trimmed = [
        task
        for task in tasks
        if task.id not in ended and len(inside[task.id]) < len(task.partitions)
    ]
    for task in trimmed:
        await execute(conn, "tasks.trim", id=task.id, partitions=inside[task.id])
    if not ended:
        return []
    return await fetch(
        conn, "tasks.cancel_of_jobs", CanceledTask, jobs=[job.id], ids=ended, outcome=_OUTSIDE
    )


def _must_end(job: Job, task: OpenTask, inside: Sequence[str]) -> bool:
    """Return True if a task cannot go on with its partitions inside the new bounds.

    A single-run task without named partitions may build any. A running one would report partitions
    outside; one that has not started reads the new bounds.
    """
    if task.status == TaskStatus.RUNNING:
        return len(inside) < len(task.partitions) or not task.partitions
    return not (inside or job.is_single_run)


async def _rebuild(
    conn: Connection, lineage: Lineage, job: Job, task: CanceledTask
) -> list[NewInvalidation]:
    """Return invalidations of the partitions of a canceled task inside the new bounds.

    A started attempt may have written some output already.
    """
    dataset = lineage.dataset(job.outputs[0])
    keys = lineage.job_space(job).inside(task.partitions)
    if task.attempts:
        await mark_partly_written(conn, lineage, job.id, keys)
    texts: Sequence[str | None] = [None] if job.is_single_run else keys
    return [definition_change(dataset.id, dataset.version, text) for text in texts]
