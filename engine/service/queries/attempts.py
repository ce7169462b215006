"""Attempts at a task, with the ends of their logs."""

from datetime import datetime
from uuid import UUID

import msgspec

from engine.errors import UnknownName
from engine.flow.shared.org_context import OrgContext
from engine.model.states import AttemptOutcome, Role, TaskStatus
from engine.service.caller import Caller, requires
from engine.service.ids import task_id
from engine.service.queries.tasks import WholeTask
from engine.service.service import Service
from engine.store.database import Connection
from engine.store.run import fetch


class AttemptSummary(msgspec.Struct, frozen=True):
    """An attempt; ``ended_at`` and ``outcome`` are null while it is running."""

    number: int
    worker_id: str | None
    started_at: datetime
    ended_at: datetime | None
    outcome: AttemptOutcome | None
    error_message: str | None


class LoggedAttempt(AttemptSummary, frozen=True):
    """An attempt with the end of its log."""

    log: str


class TaskLog(msgspec.Struct, frozen=True):
    """A task with its attempts, in order."""

    id: UUID
    dag_name: str
    job: str
    status: TaskStatus
    partitions: list[str]
    attempts: list[LoggedAttempt]


@requires(Role.READER)
async def task_log(
    caller: Caller, service: Service, task: str, number: int | None = None
) -> TaskLog:
    """Return a task's attempts, or one of them, by the id of the task or its ending.

    Raises InvalidInput, and UnknownName if there is no such task or attempt.
    """
    async with service.snapshot(caller) as (conn, org):
        visible = await service.visibility(caller, conn, org)
        id_ = await task_id(conn, org, task, visible)
        (row,) = await fetch(conn, "tasks.by_id", WholeTask, org_id=org.id, id=id_)
        attempts = await fetch(
            conn, "attempts.of_task", LoggedAttempt, org_id=org.id, task=id_, number=number
        )
        if number is not None and not attempts:
            raise UnknownName(
                f"no attempt {number} at task {task} is recorded: list the attempts with "
                f"'knockon logs {task}'"
            )
    return TaskLog(row.id, row.dag_name, row.job, row.status, row.partitions, attempts)


async def summaries(conn: Connection, org: OrgContext, task: UUID) -> list[AttemptSummary]:
    """Return the attempts at a task, in order, without logs."""
    return await fetch(conn, "attempts.summaries", AttemptSummary, org_id=org.id, task=task)
