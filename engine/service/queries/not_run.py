"""Plans for a partition that did not run: pending approval, or rejected."""

from collections.abc import Mapping, Sequence
from datetime import UTC, datetime
from typing import Any
from uuid import UUID

import msgspec

from engine.flow.shared.org_context import OrgContext
from engine.lineage.graph import Lineage
from engine.model.job import Job
from engine.service.queries.pruning import holds
from engine.store.database import Connection
from engine.store.run import Row, fetch, fetch_one

LONG_AGO = datetime(1970, 1, 1, tzinfo=UTC)
_MOST_PLANS = 20


class PlanNotRun(msgspec.Struct, frozen=True):
    """A plan for the partition that is held because of ``why``, or was rejected by ``by``."""

    id: UUID
    state: str
    at: datetime
    why: tuple[str, ...]
    by: str | None


async def not_run(
    conn: Connection, org: OrgContext, lineage: Lineage, job: Job, key: str, made: Row
) -> list[PlanNotRun]:
    """Return held plans for the partition, and rejected plans that left it stale.

    A rejected plan leaves only those partitions stale that the change triggered directly and that
    have not run since: partitions downstream are still consistent with their inputs.
    """
    task = made.get("task_id")
    run = task and await fetch_one(conn, "tasks.by_id", org_id=org.id, id=task)
    rows = await fetch(
        conn,
        "plans.not_run",
        org_id=org.id,
        dag=job.dag_name,
        job=job.name,
        since=(run and run["started_at"]) or LONG_AGO,
        limit=_MOST_PLANS,
    )
    space = lineage.job_space(job)
    return [_plan(row) for row in rows if holds(space, _meant(row), key)]


def _meant(plan: Row) -> Sequence[str]:
    step: Mapping[str, Any] = plan["step"]
    whole: Sequence[str] = step["partitions"]
    invalidated: Sequence[str] = step.get("directly_invalidated", ())
    return whole if plan["state"] == "held" or invalidated == "all" else invalidated


def _plan(row: Row) -> PlanNotRun:
    return PlanNotRun(
        id=row["id"],
        state=row["state"],
        at=row["decided_at"] or row["created_at"],
        why=tuple((row["held_by"] or "").splitlines()),
        by=row["decided_by"],
    )
