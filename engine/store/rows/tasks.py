"""Rows of `tasks.sql`."""

from datetime import datetime
from typing import Any
from uuid import UUID

import msgspec

from engine.model.states import TaskStatus


class TaskId(msgspec.Struct, frozen=True):
    """A task."""

    id: UUID


class BlockedBy(msgspec.Struct, frozen=True):
    """A blocked task with the task that it depends on, and the jobs of both."""

    id: UUID
    job_id: UUID
    depends_on: UUID
    blocker_job_id: UUID


class TaskJob(msgspec.Struct, frozen=True):
    """The job of a task."""

    job_id: UUID


class Candidate(msgspec.Struct, frozen=True):
    """A queued task that may be leased."""

    id: UUID
    job_id: UUID
    block_key: str
    partitions: list[str]
    row_filters: list[Any]
    attempts: int


class CappedJob(msgspec.Struct, frozen=True):
    """A job whose running tasks no other claimer is counting."""

    job_id: UUID


class RunningCount(msgspec.Struct, frozen=True):
    """The number of running tasks of a job."""

    job_id: UUID
    running: int


class UnfinishedCount(msgspec.Struct, frozen=True):
    """The number of a job's unfinished tasks with a status."""

    job_id: UUID
    status: TaskStatus
    tasks: int


class LeasedTask(msgspec.Struct, frozen=True):
    """The lease of a task that has become running."""

    id: UUID
    lease_token: UUID
    attempts: int
    lease_expires_at: datetime
    waited_seconds: float


class ExtendedLease(msgspec.Struct, frozen=True):
    """A lease extended by a heartbeat."""

    id: UUID
    lease_expires_at: datetime


class LeasedPropagation(msgspec.Struct, frozen=True):
    """A task under a valid lease, and the scopes of its outputs propagated by plans."""

    id: UUID
    lease_token: UUID
    propagated: dict[str, Any] | None


class RunningTask(msgspec.Struct, frozen=True):
    """A locked, running task."""

    id: UUID
    job_id: UUID
    block_key: str
    attempts: int
    partitions: list[str]


class ExpiredTask(RunningTask, frozen=True):
    """A locked, running task whose lease has expired."""

    worker_id: str | None
    lease_expires_at: datetime


class LockedTask(msgspec.Struct, frozen=True):
    """A locked task in any status."""

    id: UUID
    job_id: UUID
    block_key: str
    status: TaskStatus
    partitions: list[str]
    row_filters: list[Any]


class RetriedTask(msgspec.Struct, frozen=True):
    """A task to be retried, by the names of its job."""

    id: UUID
    dag_name: str
    job: str
    status: TaskStatus
    partitions: list[str]


class NewerTask(msgspec.Struct, frozen=True):
    """A task for partitions of an earlier one."""

    id: UUID
    status: TaskStatus
    partitions: list[str]


class UnfinishedTask(msgspec.Struct, frozen=True):
    """A locked task that has not ended."""

    id: UUID
    job_id: UUID
    block_key: str
    status: TaskStatus


class UnblockedTask(msgspec.Struct, frozen=True):
    """A task whose blockers have ended, with its new status."""

    id: UUID
    job_id: UUID
    block_key: str
    partitions: list[str]
    row_filters: list[Any]
    status: TaskStatus
    must_run: bool
    waits_for_inputs: bool


class TriggeredDependent(msgspec.Struct, frozen=True):
    """A dependent of a task that ended, with the datasets that the plan dirtied between them."""

    depends_on: UUID
    datasets: list[UUID]
    id: UUID
    job_id: UUID
    partitions: list[str]


class CanceledTask(msgspec.Struct, frozen=True):
    """A task canceled with its job."""

    id: UUID
    job: str
    partitions: list[str]
    attempts: int
    must_run: bool


class RecordedInput(msgspec.Struct, frozen=True):
    """An input partition read by a task; ``input_version`` is null if it did not exist."""

    dataset: str
    input_partition_key: str
    input_version: datetime | None


class QueuedOrg(msgspec.Struct, frozen=True):
    """An org with queued tasks."""

    id: UUID


class BlockingTask(msgspec.Struct, frozen=True):
    """A task on which another depends, finished or not."""

    id: UUID
    job: str
    block_key: str
    status: TaskStatus
    outcome: str | None
    error_message: str | None
    dag_name: str
