"""Rows of `stale.sql`."""

from datetime import datetime
from typing import Any
from uuid import UUID

import msgspec

from engine.model.invalidation import InvalidationReason
from engine.model.states import StaleDecisionKind, TaskStatus


class RecordedRun(msgspec.Struct, frozen=True):
    """The run behind a partition or a dataset version; all null if it was never built."""

    task_id: UUID | None
    config_hash: str | None
    is_partly_written: bool | None
    is_declared_wrong: bool | None
    has_unread_rows: bool | None
    has_unread_new_rows: bool | None


class BuiltDataset(msgspec.Struct, frozen=True):
    """A dataset that a run has built."""

    id: UUID


class ChangedInput(msgspec.Struct, frozen=True):
    """An input partition changed since a run; ``version`` is null if it is gone."""

    task_id: UUID
    dataset: UUID
    key: str
    recorded: datetime | None
    version: datetime | None
    row_changes: list[Any]


class UnrecordedInput(msgspec.Struct, frozen=True):
    """An input partition that a run has not read; ``first_task`` identifies the group of tasks."""

    first_task: int
    task_id: UUID
    dataset: UUID
    key: str
    version: datetime


class OpenTask(msgspec.Struct, frozen=True):
    """An unfinished task."""

    id: UUID
    status: TaskStatus
    partitions: list[str]


class StalledTask(msgspec.Struct, frozen=True):
    """A locked, blocked task without an unfinished blocker or recorded missing inputs."""

    id: UUID
    job_id: UUID
    partitions: list[str]


class OpenScope(msgspec.Struct, frozen=True):
    """The scope of an open invalidation; ``planning_error`` is set if it was set aside."""

    dataset_uuid: UUID
    partition_key: str | None
    reason: InvalidationReason
    planning_error: str | None
    after_partition: str | None


class PendingStep(msgspec.Struct, frozen=True):
    """The partitions of a job in a plan pending approval."""

    plan_id: UUID
    created_at: datetime
    partitions: list[str]


class StoredDecision(msgspec.Struct, frozen=True):
    """A decision that leaves a partition stale."""

    partition_key: str
    decision: StaleDecisionKind
    decided_by: str | None
    decided_at: datetime
    plan_id: UUID | None
    task_id: UUID | None


class DecidedPartition(msgspec.Struct, frozen=True):
    """A partition left stale by a decision."""

    dataset_uuid: UUID
    partition_key: str
