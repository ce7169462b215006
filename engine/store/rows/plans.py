"""Rows of `plans.sql`."""

from datetime import datetime
from typing import Any
from uuid import UUID

import msgspec

from engine.model.states import PlanState


class LockedPlan(msgspec.Struct, frozen=True):
    """A locked plan; ``event`` is the change that a proposal is for, or the files of a deploy."""

    id: UUID
    state: PlanState
    event: dict[str, Any] | None
    invalidation_ids: list[UUID]
    document: dict[str, Any]
    task_count: int
    decided_at: datetime | None
    decided_by: str | None


class PlanId(msgspec.Struct, frozen=True):
    """The id of a plan."""

    id: UUID


class PlanAuthor(msgspec.Struct, frozen=True):
    """A user who has caused a plan."""

    by: str


class PlannedJob(msgspec.Struct, frozen=True):
    """The job of a step, with its id as in documents."""

    id: str
    dag_name: str
    name: str
    scaling: dict[str, Any]


class PartitionCost(msgspec.Struct, frozen=True):
    """The average cost of a dataset's partitions; null is unknown."""

    dataset: UUID
    seconds: float | None
    bytes: float | None


class StoredPlan(msgspec.Struct, frozen=True):
    """A plan with its document."""

    id: UUID
    created_at: datetime
    invalidation_ids: list[UUID]
    document: dict[str, Any]
    task_count: int
    state: PlanState
    decided_at: datetime | None
    decided_by: str | None


class PlanSummary(msgspec.Struct, frozen=True):
    """A plan without its document, with the number of its jobs and its changed datasets."""

    id: UUID
    created_at: datetime
    state: PlanState
    task_count: int
    jobs: int
    event: dict[str, Any] | None
    estimate: dict[str, Any] | None
    exceeded_limits: str | None
    decided_at: datetime | None
    decided_by: str | None
    datasets: list[str]


class WholePlan(PlanSummary, frozen=True):
    """A plan with its invalidations and document."""

    invalidation_ids: list[UUID]
    document: dict[str, Any]


class TouchingPlan(msgspec.Struct, frozen=True):
    """A plan with an invalidation of one of the datasets in question."""

    id: UUID
    created_at: datetime
    invalidation_ids: list[UUID]
    document: dict[str, Any]
    task_count: int


class UnrunPlan(msgspec.Struct, frozen=True):
    """A plan that did not run, with its step for the job in question."""

    id: UUID
    state: PlanState
    created_at: datetime
    exceeded_limits: str | None
    decided_at: datetime | None
    decided_by: str | None
    step: dict[str, Any]
