"""Retry or cancel tasks."""

from collections.abc import Sequence
from uuid import UUID

from engine.flow.execution import operator_actions
from engine.model.states import Role
from engine.service.caller import Caller, requires
from engine.service.ids import task_id
from engine.service.job_names import find_job
from engine.service.service import Service


@requires(Role.WRITER)
async def retry(caller: Caller, service: Service, tasks: Sequence[str]) -> int:
    """Queue failed tasks again with a full number of attempts, all or none; return the count.

    Raises UnknownName, or InvalidInput if a task has not failed.
    """
    async with service.transaction(caller) as (conn, org):
        ids = {await task_id(conn, org, task) for task in tasks}
        await operator_actions.retry(conn, org, *ids)
        return len(ids)


@requires(Role.WRITER)
async def retry_failed(caller: Caller, service: Service, job: str | None = None) -> int:
    """Queue all failed tasks of the org or of one job again; return the count.

    A few hundred tasks per transaction, because locks would otherwise grow without bound. Raises
    UnknownName if no task has failed, and no current DAG has the job.
    """
    async with service.connection(caller) as (conn, org):
        count = await operator_actions.retry_failed(conn, org, job)
        if job is not None and not count:
            find_job(await org.lineage(conn), job)
        return count


@requires(Role.WRITER)
async def cancel(caller: Caller, service: Service, task: str) -> UUID:
    """Cancel a task and return the id; dependents continue as if the outputs were unchanged.

    Raises UnknownName, or InvalidInput if the task has ended.
    """
    async with service.transaction(caller) as (conn, org):
        id_ = await task_id(conn, org, task)
        await operator_actions.cancel(conn, org, id_, by=caller.user)
        return id_
