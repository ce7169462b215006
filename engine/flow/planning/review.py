"""Review a stored plan: lock it under the planning lock, and compare it with a new decision.

Because of the lock, the later of two concurrent reviews, or of a review and a deploy, sees the
effects of the earlier.
"""

from collections.abc import Iterator, Mapping, Sequence
from typing import Any
from uuid import UUID

from engine.errors import InvalidInput, UnknownName
from engine.flow.planning.decision import Decision
from engine.flow.shared.org_context import OrgContext
from engine.model.scaling import max_partitions_per_run
from engine.model.states import PlanState
from engine.planner import Difference, differences
from engine.store.database import Connection
from engine.store.orgs import lock_planning
from engine.store.rows.plans import LockedPlan, PlannedJob
from engine.store.run import execute, fetch, fetch_one

_ADVICE = {
    PlanState.PROPOSED: "is only proposed: run 'knockon apply', or leave it to expire",
    PlanState.PENDING_APPROVAL: "is pending approval: run 'knockon approve' or 'knockon reject'",
    PlanState.APPLIED: "has already been applied: see 'knockon tasks'",
    PlanState.REJECTED: "has already been rejected: invalidate its partitions to recompute them",
}


async def lock_plan(
    conn: Connection, org: OrgContext, plan_id: UUID, *states: PlanState
) -> LockedPlan:
    """Lock and return a plan in one of these states, until the caller's transaction ends.

    Raises UnknownName, or InvalidInput if the plan is in another state.
    """
    await lock_planning(conn, org.id)
    params = {"org_id": org.id, "id": plan_id}
    row = await fetch_one(conn, "plans.lock_one", LockedPlan, **params)
    # A plan in the history does not change any more.
    row = row or await fetch_one(conn, "plans.in_history", LockedPlan, **params)
    if row is None:
        raise UnknownName(f"there is no plan {plan_id} in this org: see 'knockon plans'")
    if row.state not in states:
        advice = _ADVICE[row.state]
        if row.state == PlanState.REJECTED and "deploy" in (row.event or {}):
            advice = "has already been rejected: deploy the files again"
        raise InvalidInput(f"plan {plan_id} {advice}")
    return row


async def changes_since(
    conn: Connection, before: Mapping[str, Any], decision: Decision
) -> tuple[Difference, ...]:
    """Return the differences between an earlier plan's document and a new decision."""
    steps = await _with_jobs(conn, before["steps"])
    was = {(step["dag"], step["name"]): step for step in steps}
    now = {(step["dag"], step["name"]): step for step in described_steps(decision)}
    return differences(was, now, decision.lineage)


def described_steps(decision: Decision) -> Iterator[dict[str, Any]]:
    """Yield the steps of a plan's document, with the DAG and the task size of each job."""
    for step, written in zip(decision.plan.steps, decision.document["steps"], strict=True):
        job = decision.lineage.job(step.job)
        yield _described(written, job.dag_name, job.max_partitions_per_run)


async def _with_jobs(
    conn: Connection, steps: Sequence[Mapping[str, Any]]
) -> Iterator[Mapping[str, Any]]:
    """Describe stored steps by the rows of their jobs; those of a pending deploy have none."""
    ids = [step["job"] for step in steps if "dag" not in step]
    rows = {row.id: row for row in await fetch(conn, "plans.jobs", PlannedJob, ids=ids)}
    return (
        _described(step, row.dag_name, max_partitions_per_run(row.scaling))
        if (row := rows.get(step["job"]))
        else step
        for step in steps
    )


def _described(step: Mapping[str, Any], dag: str, per_task: int | None) -> dict[str, Any]:
    return {**step, "dag": dag, "max_partitions_per_run": per_task}


async def record_review(conn: Connection, plan_id: UUID, state: PlanState, by: str | None) -> None:
    """Record the outcome of a review, and its author."""
    await execute(conn, "plans.review", id=plan_id, state=state, by=by)
