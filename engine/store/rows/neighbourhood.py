"""Rows of `neighbourhood.sql`."""

from uuid import UUID

import msgspec

from engine.model.states import TaskStatus


class TasksOfJob(msgspec.Struct, frozen=True):
    """The number of a job's tasks in one status."""

    job: UUID
    status: TaskStatus
    tasks: int


class StaleEvidence(msgspec.Struct, frozen=True):
    """Evidence of a dataset's state besides the tasks of its job."""

    dataset: UUID
    is_built: bool
    open_invalidations: int
    left_stale: int
