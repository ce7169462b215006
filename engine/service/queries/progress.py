"""Progress of the tasks of invalidations."""

from collections.abc import Sequence
from typing import Any
from uuid import UUID

import msgspec

from engine.model.states import PENDING_STATUSES, Role, TaskStatus
from engine.service.caller import Caller, requires
from engine.service.queries.invalidations import visible_invalidations
from engine.service.service import Service
from engine.store.rows.invalidations import InvalidationId
from engine.store.rows.views import Obstacles, ProgressRow, StatusCount
from engine.store.run import fetch


class Progress(msgspec.Struct, frozen=True):
    """Number of tasks by status, and of ``unplanned`` invalidations without tasks.

    ``pending_approval`` are plans. ``set_aside`` has the planning errors of invalidations.
    ``is_moving`` is true if any task of the org is queued or running. ``waits_for_inputs`` is true
    if otherwise the unfinished tasks wait for inputs to exist, and not for a failed task.
    """

    unplanned: int
    tasks: dict[str, int]
    is_moving: bool
    pending_approval: tuple[UUID, ...] = ()
    rejected: tuple[UUID, ...] = ()
    set_aside: tuple[str, ...] = ()
    waits_for_inputs: bool = False

    @property
    def total(self) -> int:
        """Return the number of tasks."""
        return sum(self.tasks.values())

    @property
    def finished(self) -> int:
        """Return the number of ended tasks."""
        return self.total - sum(self.tasks.get(status, 0) for status in PENDING_STATUSES)

    @property
    def is_over(self) -> bool:
        """Return true if all tasks have ended, or the rest waits for a person."""
        return not self.unplanned and (self.finished == self.total or not self.is_moving)

    @property
    def is_good(self) -> bool:
        """Return true if everything was planned, and no task failed or waits for a failed one."""
        refused = self.unplanned or self.pending_approval or self.rejected or self.set_aside
        is_done = self.finished == self.total or self.waits_for_inputs
        return not refused and TaskStatus.FAILED not in self.tasks and is_done


@requires(Role.READER)
async def progress(caller: Caller, service: Service, invalidations: Sequence[UUID]) -> Progress:
    """Return the progress of the tasks of invalidations."""
    async with service.snapshot(caller) as (conn, org):
        visible = await service.visibility(caller, conn, org)
        ids = await visible_invalidations(conn, org, visible, invalidations)
        params: dict[str, Any] = {"org_id": org.id, "ids": ids}
        (row,) = await fetch(conn, "views.progress", ProgressRow, **params)
        counts = await fetch(
            conn, "views.tasks_of_plans", StatusCount, org_id=org.id, plans=row.plans
        )
        tasks: dict[str, int] = {count.status: count.tasks for count in counts}
        waits = False
        if TaskStatus.BLOCKED in tasks and not row.moving:
            (obstacles,) = await fetch(conn, "views.obstacles", Obstacles, **params)
            waits = obstacles.missing_inputs and not obstacles.failed_tasks
    return Progress(
        row.unplanned,
        tasks,
        row.moving,
        tuple(row.pending_approval),
        tuple(row.rejected),
        tuple(row.set_aside),
        waits,
    )


@requires(Role.READER)
async def build_of(caller: Caller, service: Service, version: UUID) -> list[UUID]:
    """Return the invalidations for the initial builds of a DAG version."""
    async with service.snapshot(caller) as (conn, org):
        rows = await fetch(
            conn,
            "views.invalidations_of_version",
            InvalidationId,
            org_id=org.id,
            dag_version_id=version,
        )
        visible = await service.visibility(caller, conn, org)
        return await visible_invalidations(conn, org, visible, [row.id for row in rows])
