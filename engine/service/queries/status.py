"""Status of an org: unfinished and stuck work, positions, workers."""

from datetime import datetime
from typing import Any
from uuid import UUID

import msgspec

from engine.flow.shared.org_context import OrgContext
from engine.model.states import (
    PENDING_STATUSES,
    STARTABLE_STATUSES,
    PlanState,
    Role,
    TaskStatus,
)
from engine.service.caller import Caller, requires
from engine.service.queries.plans import PlanRow, load_plans
from engine.service.queries.positions import Position, load_positions
from engine.service.queries.served import missing_processes
from engine.service.service import Service
from engine.service.visibility import EVERYTHING, Visibility
from engine.store.database import Connection
from engine.store.rows.pauses import Gathering, HeldBack, Pause
from engine.store.rows.views import (
    OpenDeadLetters,
    OpenInvalidations,
    SetAsideRow,
    StatusCount,
    StuckRow,
)
from engine.store.run import fetch

_MAX_LISTED = 20


class DeployedDag(msgspec.Struct, frozen=True):
    """A DAG in its current version, with the number as in the history of deploys."""

    name: str
    version: int
    deployed_at: datetime
    jobs: int
    datasets: int


class UndeployedDag(msgspec.Struct, frozen=True):
    """A DAG that was undeployed, in the version from which a deploy continues."""

    name: str
    version: int
    undeployed_at: datetime
    by: str | None


class StuckTask(msgspec.Struct, frozen=True):
    """A failed task, or a task waiting for ``waiting_for`` to exist, with ``blocks`` dependents."""

    id: UUID
    job: str
    block_key: str
    status: TaskStatus
    attempts: int
    blocks: int
    error: str | None
    waiting_for: dict[str, list[str]] | None


class SetAside(msgspec.Struct, frozen=True):
    """An invalidation with a planning error; ``partition_key`` None for the whole dataset."""

    id: UUID
    dataset: str
    partition_key: str | None
    error: str
    set_aside_at: datetime


class Worker(msgspec.Struct, frozen=True):
    """A worker with a task within the last 15 minutes."""

    id: str
    running: int
    seen: datetime


class Status(msgspec.Struct, frozen=True):
    """Status of an org; ``oldest_seconds`` is the age of the oldest invalidation to plan.

    ``open_invalidations`` are only those still to be planned, without invalidations set aside and
    the ``invalidations_pending_approval``, those of the plans in ``pending_approval``.
    ``set_aside`` lists the newest of ``set_aside_total``. ``held_back`` is the part of the open
    invalidations and queued tasks that ``pauses`` keep from being planned or claimed. ``gathering``
    lists the datasets with a debounce whose invalidations are not planned yet. ``missing`` has the
    processes without which the work does not continue, with remedies.
    """

    dags: tuple[DeployedDag, ...]
    tasks: dict[str, int]
    pending_approval: tuple[PlanRow, ...]
    open_invalidations: int
    oldest_seconds: float | None
    dead_letters: int
    positions: tuple[Position, ...]
    stuck: tuple[StuckTask, ...]
    workers: tuple[Worker, ...]
    set_aside: tuple[SetAside, ...] = ()
    set_aside_total: int = 0
    invalidations_pending_approval: int = 0
    pauses: tuple[Pause, ...] = ()
    held_back: HeldBack = HeldBack(0, 0)
    gathering: tuple[Gathering, ...] = ()
    undeployed: tuple[UndeployedDag, ...] = ()
    missing: tuple[str, ...] = ()

    @property
    def is_at_rest(self) -> bool:
        """Return true if all work is done, except for work pending approval or set aside."""
        unfinished = sum(self.tasks.get(name, 0) for name in PENDING_STATUSES)
        return not self.open_invalidations and not unfinished

    @property
    def is_moving(self) -> bool:
        """Return true if work continues without any input, retry, resume or decision."""
        startable = sum(self.tasks.get(name, 0) for name in STARTABLE_STATUSES)
        held_back = self.held_back
        return self.open_invalidations > held_back.invalidations or startable > held_back.tasks


@requires(Role.READER)
async def status(caller: Caller, service: Service) -> Status:
    """Return the status of the org."""
    async with service.snapshot(caller) as (conn, org):
        visible = await service.visibility(caller, conn, org)
        return await load_status(conn, org, visible)


async def load_status(
    conn: Connection, org: OrgContext, visible: Visibility = EVERYTHING
) -> Status:
    """Load the status of an org: all numbers, and what is visible."""
    params: dict[str, Any] = {"org_id": org.id}
    (invalidations,) = await fetch(conn, "views.open_invalidations", OpenInvalidations, **params)
    (letters,) = await fetch(conn, "views.open_dead_letters", OpenDeadLetters, **params)
    (held_back,) = await fetch(conn, "pauses.held_back", HeldBack, **params)
    counts = await fetch(conn, "tasks.counts", StatusCount, **params)
    stuck = await fetch(
        conn,
        "views.stuck",
        StuckRow,
        limit=_MAX_LISTED,
        hidden=sorted(visible.job_ids) or None,
        **params,
    )
    aside = await fetch(
        conn,
        "views.set_aside",
        SetAsideRow,
        limit=_MAX_LISTED,
        hidden=visible.hidden_datasets,
        **params,
    )
    dags = await fetch(conn, "views.dags", DeployedDag, **params)
    pauses = await fetch(conn, "pauses.list", Pause, **params)
    gathering = await fetch(conn, "pauses.gathering", Gathering, **params)
    undeployed = await fetch(conn, "views.undeployed_dags", UndeployedDag, **params)
    return Status(
        dags=tuple(row for row in dags if row.name not in visible.dags),
        tasks={count.status: count.tasks for count in counts},
        pending_approval=tuple(
            await load_plans(
                conn,
                org,
                states=[PlanState.PENDING_APPROVAL],
                limit=_MAX_LISTED,
                visible=visible,
            )
        ),
        open_invalidations=invalidations.invalidations,
        oldest_seconds=invalidations.seconds,
        dead_letters=letters.letters,
        positions=tuple(await load_positions(conn, org, visible)),
        stuck=tuple(_stuck(row) for row in stuck),
        workers=tuple(await fetch(conn, "views.workers", Worker, **params)),
        set_aside=tuple(_set_aside(row) for row in aside),
        set_aside_total=aside[0].total if aside else 0,
        invalidations_pending_approval=invalidations.pending_approval,
        pauses=tuple(row for row in pauses if visible.sees_pause(row)),
        held_back=held_back,
        gathering=tuple(row for row in gathering if row.dataset not in visible.dataset_names),
        undeployed=tuple(row for row in undeployed if row.name not in visible.dags),
        missing=tuple(await missing_processes(conn, org, invalidations.seconds)),
    )


def _stuck(row: StuckRow) -> StuckTask:
    return StuckTask(
        id=row.id,
        job=row.job,
        block_key=row.block_key,
        status=row.status,
        attempts=row.attempts,
        blocks=row.blocks,
        error=row.error_message,
        waiting_for=row.waiting_for,
    )


def _set_aside(row: SetAsideRow) -> SetAside:
    return SetAside(row.id, row.dataset, row.partition_key, row.error, row.set_aside_at)
