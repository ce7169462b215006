"""Retry failed and canceled tasks.

A failed task is queued again. A canceled task has ended, and its dependents have proceeded without
it: its partitions are invalidated, and planned as a new task with the dependents that they have by
then. The plan deletes the decision to leave them stale.
"""

from collections.abc import Sequence
from dataclasses import dataclass
from uuid import UUID

from engine.errors import InvalidInput, UnknownName
from engine.flow.shared.invalidations import NewInvalidation, insert_own, own_invalidation
from engine.flow.shared.org_context import OrgContext
from engine.lineage.graph import Lineage
from engine.model.job import Job
from engine.model.states import Reason, TaskStatus
from engine.store.database import Connection
from engine.store.notifications import TASKS, notify
from engine.store.rows.tasks import LockedTask, NewerTask, RetriedTask, TaskId
from engine.store.run import execute, fetch, fetch_one

_RETRIED_AT_ONCE = 500


@dataclass(frozen=True, slots=True)
class Retried:
    """The failed tasks ``queued`` again, and the canceled ones ``requested`` as new tasks.

    ``covered`` counts canceled tasks left as they are, because newer tasks cover their partitions.
    """

    queued: int = 0
    requested: int = 0
    covered: int = 0
    invalidations: tuple[UUID, ...] = ()

    def __add__(self, other: "Retried") -> "Retried":
        return Retried(
            self.queued + other.queued,
            self.requested + other.requested,
            self.covered + other.covered,
            self.invalidations + other.invalidations,
        )


async def retry(conn: Connection, org: OrgContext, *tasks: UUID, by: str | None = None) -> Retried:
    """Retry failed and canceled tasks, all or none.

    Raises UnknownName, or InvalidInput if any of the tasks has neither failed nor been canceled, or
    if newer tasks cover the partitions of a canceled one.
    """
    failed: list[UUID] = []
    canceled: list[RetriedTask] = []
    async with conn.transaction():
        for task in sorted(set(tasks)):
            row = await _retriable(conn, org, task)
            if row is None:
                failed.append(task)
            else:
                canceled.append(row)
        if failed:
            await _requeue(conn, org, failed)
        requested = await _request(conn, org, canceled, is_strict=True, by=by)
    return Retried(queued=len(failed)) + requested


async def retry_failed(
    conn: Connection,
    org: OrgContext,
    job: str | None = None,
    dag: str | None = None,
    hidden: Sequence[str] | None = None,
) -> int:
    """Requeue all failed tasks of one job or, without ``job``, of all jobs; return their number.

    Tasks are requeued in batches of a few hundred, one transaction per batch. A task that fails
    again in the meantime is not retried twice. Jobs with ``hidden`` full names are left out.
    """
    count, after = 0, UUID(int=0)
    while True:
        async with conn.transaction():
            rows = await fetch(
                conn,
                "tasks.lock_failed",
                TaskId,
                org_id=org.id,
                job=job,
                dag=dag,
                after=after,
                hidden=None if hidden is None else list(hidden),
                limit=_RETRIED_AT_ONCE,
            )
            if not rows:
                return count
            await _requeue(conn, org, [row.id for row in rows])
        count += len(rows)
        after = rows[-1].id


async def retry_canceled(
    conn: Connection,
    org: OrgContext,
    job: str | None = None,
    dag: str | None = None,
    hidden: Sequence[UUID] | None = None,
    by: str | None = None,
) -> Retried:
    """Request all canceled tasks whose partitions are still left stale, of one job or of all.

    Those of ``hidden`` datasets are left out.
    """
    total, after = Retried(), UUID(int=0)
    while True:
        async with conn.transaction():
            rows = await fetch(
                conn,
                "stale.canceled_tasks",
                RetriedTask,
                org_id=org.id,
                job=job,
                dag=dag,
                after=after,
                hidden=None if hidden is None else list(hidden),
                limit=_RETRIED_AT_ONCE,
            )
            if not rows:
                return total
            total += await _request(conn, org, rows, is_strict=False, by=by)
        after = rows[-1].id


async def _requeue(conn: Connection, org: OrgContext, tasks: list[UUID]) -> None:
    await execute(conn, "tasks.requeue", ids=tasks)
    await notify(conn, TASKS, org.id)


async def _retriable(conn: Connection, org: OrgContext, task: UUID) -> RetriedTask | None:
    """Return a canceled task, or None for a failed one, which is locked."""
    locked = await fetch_one(conn, "tasks.lock_one", LockedTask, org_id=org.id, id=task)
    if locked is not None and locked.status == TaskStatus.FAILED:
        return None
    row = await fetch_one(conn, "tasks.retried", RetriedTask, org_id=org.id, id=task)
    if row is None:
        raise UnknownName(f"there is no task {task} in this org: see 'knockon tasks'")
    if row.status != TaskStatus.CANCELED:
        raise InvalidInput(
            f"task {task} is {row.status}, neither failed nor canceled: "
            "to have its partitions recomputed, invalidate them"
        )
    return row


async def _request(
    conn: Connection,
    org: OrgContext,
    tasks: Sequence[RetriedTask],
    *,
    is_strict: bool,
    by: str | None,
) -> Retried:
    """Invalidate the partitions of canceled tasks, except for those that newer tasks cover."""
    lineage = await org.lineage(conn)
    jobs = {(job.dag_name, job.name): job for job in lineage.order}
    invalidations: list[NewInvalidation] = []
    for task in tasks:
        job = jobs.get((task.dag_name, task.job))
        newer = await fetch(
            conn,
            "tasks.newer",
            NewerTask,
            org_id=org.id,
            id=task.id,
            dag=task.dag_name,
            job=task.job,
            partitions=task.partitions,
        )
        if job is not None and (remaining := _remaining(lineage, job, task, newer, by)):
            invalidations.append(remaining)
        elif is_strict:
            raise InvalidInput(_refusal(task, newer))
    await insert_own(conn, org, invalidations)
    ids = [id_ for invalidation in invalidations for id_ in invalidation["ids"]]
    covered = len(tasks) - len(invalidations)
    return Retried(requested=len(invalidations), covered=covered, invalidations=tuple(ids))


def _remaining(
    lineage: Lineage,
    job: Job,
    task: RetriedTask,
    newer: Sequence[NewerTask],
    by: str | None,
) -> NewInvalidation | None:
    """Return an invalidation of the partitions without a newer task; None if there are none."""
    space, dataset = lineage.job_space(job), lineage.dataset(job.outputs[0])
    if job.is_single_run:
        texts: Sequence[str | None] = () if newer else (None,)
    else:
        covered = {key for row in newer for key in row.partitions}
        remaining = [key for key in task.partitions if key not in covered]
        texts = space.texts(space.from_alike(remaining))
    if not texts:
        return None
    return own_invalidation(
        dataset.id,
        dataset.version,
        texts,
        reason=Reason.MANUAL,
        source="knockon tasks retry",
        note=f"retry of task {task.id}",
        by=by,
    )


def _refusal(task: RetriedTask, newer: Sequence[NewerTask]) -> str:
    if not newer:
        return f"task {task.id} cannot be retried: no deployed DAG has its job {task.job!r}"
    last = newer[-1]
    return (
        f"task {task.id} was canceled, and the newer task {last.id} for its partitions is "
        f"{last.status}: nothing is left to retry"
    )
