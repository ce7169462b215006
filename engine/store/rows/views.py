"""Rows of `views.sql`, and of counts in `tasks.sql`."""

from datetime import datetime
from typing import Any
from uuid import UUID

import msgspec

from engine.model.states import TaskStatus


class OpenInvalidations(msgspec.Struct, frozen=True):
    """The number of unplanned invalidations, the age of the oldest, and those pending approval."""

    invalidations: int
    seconds: float | None
    pending_approval: int


class OpenDeadLetters(msgspec.Struct, frozen=True):
    """The number of open dead letters."""

    letters: int


class StatusCount(msgspec.Struct, frozen=True):
    """The number of tasks in a status."""

    status: TaskStatus
    tasks: int


class MatchingId(msgspec.Struct, frozen=True):
    """An id with the ending in question."""

    id: UUID


class SkippedTask(msgspec.Struct, frozen=True):
    """The task of a plan that was skipped."""

    plan_id: UUID
    task_id: UUID


class StuckRow(msgspec.Struct, frozen=True):
    """A failed or waiting task, and the number of its dependents."""

    id: UUID
    job: str
    block_key: str
    status: TaskStatus
    attempts: int
    error_message: str | None
    waiting_for: dict[str, list[str]] | None
    blocks: int


class SetAsideRow(msgspec.Struct, frozen=True):
    """An invalidation that was set aside, and the number of all."""

    id: UUID
    dataset: str
    partition_key: str | None
    error: str
    set_aside_at: datetime
    total: int


class ProgressRow(msgspec.Struct, frozen=True):
    """The states and plans of some invalidations; ``moving`` if any task is queued or running."""

    unplanned: int
    set_aside: list[str]
    pending_approval: list[UUID]
    rejected: list[UUID]
    plans: list[UUID]
    moving: bool


class AwaitedTasks(msgspec.Struct, frozen=True):
    """Unfinished tasks of a job in a status; ``delayed`` ones are queued for a later attempt."""

    dag_name: str
    job: str
    status: TaskStatus
    runtime: str
    tasks: int
    delayed: int


class AwaitedInvalidations(msgspec.Struct, frozen=True):
    """Unplanned invalidations of a dataset."""

    dataset: str
    invalidations: int


class LatelyServed(msgspec.Struct, frozen=True):
    """The runtimes with workers at work, and whether an engine is at work."""

    runtimes: list[str]
    is_planning: bool


class WaitingRuntime(msgspec.Struct, frozen=True):
    """A runtime of tasks that wait for a worker."""

    runtime: str


class Obstacles(msgspec.Struct, frozen=True):
    """Obstacles before blocked tasks."""

    missing_inputs: bool
    failed_tasks: bool


class ExpiredLeases(msgspec.Struct, frozen=True):
    """The number of tasks long past their lease."""

    tasks: int


class ServerState(msgspec.Struct, frozen=True):
    """The version and clock of the server, and the used part of its queue of notifications."""

    version: str
    now: datetime
    notification_queue: float


class SuspectedSecret(msgspec.Struct, frozen=True):
    """A job of a stored DAG version that may contain a literal secret."""

    dag_name: str
    dag_version_id: UUID
    source: Any
    config: Any
    is_current: bool
