"""Retry or cancel tasks."""

from collections.abc import Sequence
from uuid import UUID

from engine.errors import InvalidInput
from engine.flow.execution import cancel as cancellation
from engine.flow.execution import retry as retries
from engine.flow.execution.retry import Retried
from engine.flow.shared.org_context import OrgContext
from engine.lineage.job_names import find_job, name_parts
from engine.model.states import UNFINISHED_STATUSES, Role, TaskStatus
from engine.service.caller import Caller, requires
from engine.service.ids import task_id
from engine.service.service import Service
from engine.service.visibility import Visibility
from engine.store.database import Connection

__all__ = ["RETRIABLE_STATUSES", "Retried", "cancel", "cancel_all", "retry", "retry_all"]

RETRIABLE_STATUSES = (TaskStatus.FAILED, TaskStatus.CANCELED)


@requires(Role.WRITER)
async def retry(caller: Caller, service: Service, tasks: Sequence[str]) -> Retried:
    """Retry failed and canceled tasks, all or none; return the counts.

    Failed tasks are queued again with a full number of attempts. The partitions of canceled tasks
    are invalidated and planned as new tasks. Raises UnknownName, or InvalidInput if a task has
    neither failed nor been canceled, or if newer tasks cover the partitions of a canceled one.
    """
    async with service.transaction(caller) as (conn, org):
        visible = await service.visibility(caller, conn, org)
        ids = {await task_id(conn, org, task, visible) for task in tasks}
        return await retries.retry(conn, org, *ids, by=caller.user)


@requires(Role.WRITER)
async def retry_all(
    caller: Caller,
    service: Service,
    *,
    statuses: Sequence[TaskStatus] = (TaskStatus.FAILED,),
    job: str | None = None,
) -> Retried:
    """Retry all failed or canceled tasks of the org or of one job; return the counts.

    Of the canceled tasks, those with partitions still left stale. A few hundred tasks per
    transaction, because locks would otherwise grow without bound. Raises InvalidInput for other
    statuses, and UnknownName if there are no such tasks, and no current DAG has the job,
    or InvalidInput if several DAGs have it.
    """
    _require(statuses, RETRIABLE_STATUSES, "retry")
    total = Retried()
    async with service.connection(caller) as (conn, org):
        visible = await service.visibility(caller, conn, org)
        dag, name = await _parts(conn, org, visible, job)
        hidden = visible.hidden_jobs
        if TaskStatus.FAILED in statuses:
            total += Retried(queued=await retries.retry_failed(conn, org, name, dag, hidden))
        if TaskStatus.CANCELED in statuses:
            total += await retries.retry_canceled(
                conn, org, name, dag, visible.hidden_datasets, caller.user
            )
        if job is not None and total == Retried():
            find_job(await org.lineage(conn), job, visible.job_names)
    return total


@requires(Role.WRITER)
async def cancel(caller: Caller, service: Service, tasks: Sequence[str]) -> list[UUID]:
    """Cancel tasks, all or none; return their ids.

    Dependents continue as if the outputs were unchanged. Raises UnknownName, or InvalidInput if a
    task has ended.
    """
    async with service.transaction(caller) as (conn, org):
        visible = await service.visibility(caller, conn, org)
        ids = sorted({await task_id(conn, org, task, visible) for task in tasks})
        for id_ in ids:
            await cancellation.cancel(conn, org, id_, by=caller.user)
        return ids


@requires(Role.WRITER)
async def cancel_all(
    caller: Caller,
    service: Service,
    *,
    statuses: Sequence[TaskStatus] = UNFINISHED_STATUSES,
    job: str | None = None,
) -> int:
    """Cancel all tasks in some unfinished statuses, of the org or of one job; return the count.

    A hundred tasks per transaction. Raises InvalidInput for other statuses, and UnknownName if
    there are no such tasks, and no current DAG has the job,
    or InvalidInput if several DAGs have it.
    """
    _require(statuses, UNFINISHED_STATUSES, "cancel")
    async with service.connection(caller) as (conn, org):
        visible = await service.visibility(caller, conn, org)
        dag, name = await _parts(conn, org, visible, job)
        count = await cancellation.cancel_all(
            conn, org, statuses, name, by=caller.user, dag=dag, hidden=visible.hidden_jobs
        )
        if job is not None and not count:
            find_job(await org.lineage(conn), job, visible.job_names)
        return count


async def _parts(
    conn: Connection, org: OrgContext, visible: Visibility, job: str | None
) -> tuple[str | None, str | None]:
    """Return the DAG and the name of a chosen job."""
    if job is None:
        return None, None
    return name_parts(await org.lineage(conn), job, visible.job_names)


def _require(statuses: Sequence[TaskStatus], allowed: Sequence[TaskStatus], verb: str) -> None:
    if others := [*set(statuses) - set(allowed)]:
        raise InvalidInput(
            f"tasks that are {others[0]} cannot be chosen to {verb}: give one or several of "
            f"{', '.join(allowed)}"
        )
