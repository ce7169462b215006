"""Retry or cancel tasks."""

from collections.abc import Sequence
from uuid import UUID

from engine.flow.execution import operator_actions
from engine.service.caller import Caller, Role, requires
from engine.service.ids import task_id
from engine.service.service import Service


@requires(Role.WRITER)
async def retry(caller: Caller, service: Service, tasks: Sequence[str]) -> int:
    """Queue failed tasks again with all their attempts, all or none; return their number.

    Raises UnknownName, or InvalidInput if one has not failed.
    """
    async with service.transaction(caller) as (conn, org):
        found = {await task_id(conn, org, each) for each in tasks}
        await operator_actions.retry(conn, org, *found)
        return len(found)


@requires(Role.WRITER)
async def retry_failed(caller: Caller, service: Service, job: str | None = None) -> int:
    """Queue all failed tasks of the org or of one job again; return their number.

    A few hundred tasks per transaction: one for all would lock any number of tasks at once.
    """
    async with service.connection(caller) as (conn, org):
        return await operator_actions.retry_failed(conn, org, job)


@requires(Role.WRITER)
async def cancel(caller: Caller, service: Service, task: str) -> UUID:
    """Cancel a task; tasks downstream continue as if its result were unchanged. Return its id.

    Raises UnknownName, or InvalidInput if the task has ended.
    """
    async with service.transaction(caller) as (conn, org):
        found = await task_id(conn, org, task)
        await operator_actions.cancel(conn, org, found, by=caller.user)
        return found
