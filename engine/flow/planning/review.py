"""Review a stored plan: lock it under the planning lock, and compare it with a new decision.

Because of the lock, the later of two concurrent reviews, or of a review and a deploy, sees the
effects of the earlier.
"""

from collections.abc import Mapping
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
        raise InvalidInput(f"plan {plan_id} {_ADVICE[row.state]}")
    return row


async def changes_since(
    conn: Connection, before: Mapping[str, Any], decision: Decision
) -> tuple[Difference, ...]:
    """Return the differences between an earlier plan's document and a new decision."""
    ids = [step["job"] for step in before["steps"]]
    rows = await fetch(conn, "plans.jobs", PlannedJob, ids=ids)
    by_id = {row.id: row for row in rows}
    was = {}
    for step in before["steps"]:
        row = by_id[step["job"]]
        block = {"max_partitions_per_run": max_partitions_per_run(row.scaling)}
        was[row.dag_name, row.name] = step | block
    jobs = [decision.lineage.job(step.job) for step in decision.plan.steps]
    steps = zip(jobs, decision.document["steps"], strict=True)
    now = {
        (job.dag_name, job.name): step | {"max_partitions_per_run": job.max_partitions_per_run}
        for job, step in steps
    }
    return differences(was, now, decision.lineage)


async def record_review(conn: Connection, plan_id: UUID, state: PlanState, by: str | None) -> None:
    """Record the outcome of a review, and its author."""
    await execute(conn, "plans.review", id=plan_id, state=state, by=by)
