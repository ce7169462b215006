"""Plans for a partition, pending approval or rejected."""

from collections.abc import Mapping, Sequence
from datetime import UTC, datetime
from typing import Any
from uuid import UUID

import msgspec

from engine.flow.shared.org_context import OrgContext
from engine.lineage.graph import Lineage
from engine.model.job import Job
from engine.model.states import PlanState
from engine.service.queries.pruning import contains, step_contains
from engine.service.queries.tasks import WholeTask
from engine.store.database import Connection
from engine.store.rows.plans import UnrunPlan
from engine.store.run import fetch, fetch_one

LONG_AGO = datetime(1970, 1, 1, tzinfo=UTC)
_MAX_PLANS = 20


class PlanNotRun(msgspec.Struct, frozen=True):
    """A plan for the partition, pending approval because of ``why``, or rejected by ``by``."""

    id: UUID
    state: PlanState
    at: datetime
    why: tuple[str, ...]
    by: str | None


async def not_run(
    conn: Connection, org: OrgContext, lineage: Lineage, job: Job, key: str, task: UUID | None
) -> list[PlanNotRun]:
    """Return plans pending approval for the partition, and rejected plans since its last run.

    ``task`` is the task of that run, None if there was none. A rejected plan leaves only directly
    triggered partitions stale: partitions downstream are still consistent with their inputs.
    """
    run = task and await fetch_one(conn, "tasks.by_id", WholeTask, org_id=org.id, id=task)
    rows = await fetch(
        conn,
        "plans.not_run",
        UnrunPlan,
        org_id=org.id,
        dag=job.dag_name,
        job=job.name,
        since=(run and run.started_at) or LONG_AGO,
        limit=_MAX_PLANS,
    )
    return [_plan(row) for row in rows if _affects(lineage, row, job, key)]


def _affects(lineage: Lineage, plan: UnrunPlan, job: Job, key: str) -> bool:
    step: Mapping[str, Any] = plan.step
    invalidated: Sequence[str] = step.get("directly_invalidated", ())
    if plan.state == PlanState.PENDING_APPROVAL or invalidated == "all":
        return step_contains(lineage, job, step, key)
    return contains(lineage.job_space(job), invalidated, key)


def _plan(row: UnrunPlan) -> PlanNotRun:
    return PlanNotRun(
        id=row.id,
        state=row.state,
        at=row.decided_at or row.created_at,
        why=tuple((row.exceeded_limits or "").splitlines()),
        by=row.decided_by,
    )
