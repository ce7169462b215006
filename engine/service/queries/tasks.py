"""Tasks."""

from collections.abc import Sequence
from datetime import datetime
from typing import Any
from uuid import UUID

import msgspec

from engine.lineage.graph import Lineage
from engine.lineage.job_names import find_job, name_parts
from engine.model.states import Role, TaskStatus
from engine.service.caller import Caller, requires
from engine.service.keyset import NEWEST
from engine.service.names import require_partition
from engine.service.service import Service
from engine.service.visibility import Visibility
from engine.store.run import fetch


class TaskRow(msgspec.Struct, frozen=True):
    """A task. ``must_run``: whatever the outcomes of the tasks upstream."""

    id: UUID
    dag_name: str
    job: str
    block_key: str
    status: TaskStatus
    partitions: list[str]
    must_run: bool
    attempts: int
    worker_id: str | None
    created_at: datetime
    started_at: datetime | None
    completed_at: datetime | None
    next_retry_at: datetime | None
    error_message: str | None
    outcome: str | None
    waiting_for: dict[str, list[str]] | None
    plan_ids: list[UUID]

    @property
    def note(self) -> str:
        """Return the missing inputs, or else the error or outcome."""
        if self.waiting_for:
            return "waits for " + "; ".join(
                f"{name} {', '.join(keys)}" for name, keys in self.waiting_for.items()
            )
        return self.error_message or self.outcome or ""


class WholeTask(TaskRow, frozen=True):
    """A task with the id of its job, and its row filters."""

    job_id: UUID
    row_filters: list[Any]

    @property
    def task(self) -> TaskRow:
        """Return the task as listed."""
        return TaskRow(*[getattr(self, name) for name in TaskRow.__struct_fields__])


@requires(Role.READER)
async def tasks(
    caller: Caller,
    service: Service,
    *,
    statuses: Sequence[TaskStatus] | None = None,
    job: str | None = None,
    partition: str | None = None,
    limit: int = 50,
    before: UUID = NEWEST,
) -> list[TaskRow]:
    """List tasks before an id, newest first, optionally by status, job or partition.

    Raises UnknownName or InvalidPartition if there are none, and no current DAG has the job, or no
    job such a partition; InvalidInput if several DAGs have the job.
    """
    async with service.snapshot(caller) as (conn, org):
        visible = await service.visibility(caller, conn, org)
        dag, job_name = None, job
        if job is not None:
            dag, job_name = name_parts(await org.lineage(conn), job, visible.job_names)
        rows = await fetch(
            conn,
            "tasks.list",
            TaskRow,
            org_id=org.id,
            statuses=None if statuses is None else list(statuses),
            job=job_name,
            dag=dag,
            partition=partition,
            limit=limit,
            before=before,
            hidden=visible.hidden_jobs,
        )
        if not rows:
            _require_possible(await org.lineage(conn), visible, job, partition)
        return rows


def _require_possible(
    lineage: Lineage, visible: Visibility, job: str | None, partition: str | None
) -> None:
    every, hidden = visible.visible_jobs(lineage), visible.job_names
    jobs = every if job is None else [find_job(lineage, job, hidden)]
    if partition is not None:
        require_partition(lineage, jobs, partition)
