"""Approve or reject a plan pending approval."""

from dataclasses import dataclass
from uuid import UUID

from engine.flow.execution.stale_decisions import StaleDecision, leave_rows_unread, leave_stale
from engine.flow.execution.unverified import mark_unverified
from engine.flow.planning.decision import Decision, decide_rows
from engine.flow.planning.pending_approval import require_within_quota
from engine.flow.planning.plan import execute_plan
from engine.flow.planning.review import changes_since, lock_plan, record_review
from engine.flow.planning.set_aside import planning
from engine.flow.shared.org_context import OrgContext
from engine.flow.shared.stale import stale_keys
from engine.model.states import PlanState, StaleDecisionKind
from engine.planner import Difference
from engine.store.database import Connection
from engine.store.rows.invalidations import LockedInvalidation
from engine.store.run import execute, fetch


@dataclass(frozen=True, slots=True)
class Review:
    """Result of a review; ``changes`` are the differences between the stored plan and its run.

    ``is_new`` is False if an earlier review had the same result.
    """

    plan_id: UUID
    state: PlanState
    invalidations: tuple[UUID, ...]
    tasks: int = 0
    is_new: bool = True
    changes: tuple[Difference, ...] = ()


async def approve(
    conn: Connection, org: OrgContext, plan_id: UUID, by: str | None = None
) -> Review:
    """Run a plan pending approval, after planning the same invalidations in the current state.

    Raises UnknownName, InvalidInput if the plan is not pending approval or cannot be planned, and
    QuotaExceeded if it is larger than the org's quota permits; the plan is then still pending.
    """
    async with conn.transaction():
        row = await lock_plan(conn, org, plan_id, PlanState.PENDING_APPROVAL, PlanState.APPLIED)
        ids = tuple(row.invalidation_ids)
        if row.state == PlanState.APPLIED:
            return Review(plan_id, PlanState.APPLIED, ids, row.task_count, is_new=False)
        rows = await fetch(conn, "invalidations.lock_these", LockedInvalidation, ids=list(ids))
        with planning(f"plan {plan_id}"):
            decision = await decide_rows(conn, org, rows)
            await require_within_quota(conn, org, decision)
            changes = await changes_since(conn, row.document, decision)
            planned = await execute_plan(conn, org, decision, plan_id)
        await record_review(conn, plan_id, PlanState.APPLIED, by)
    return Review(plan_id, PlanState.APPLIED, ids, planned.tasks, changes=changes)


async def reject(conn: Connection, org: OrgContext, plan_id: UUID, by: str | None = None) -> Review:
    """Reject a plan pending approval: nothing runs, and its partitions are recorded as left stale.

    Raises UnknownName, or InvalidInput if the plan is not pending approval.
    """
    async with conn.transaction():
        row = await lock_plan(conn, org, plan_id, PlanState.PENDING_APPROVAL, PlanState.REJECTED)
        ids = tuple(row.invalidation_ids)
        if row.state == PlanState.REJECTED:
            return Review(plan_id, PlanState.REJECTED, ids, is_new=False)
        rows = await fetch(conn, "invalidations.lock_these", LockedInvalidation, ids=list(ids))
        with planning(f"plan {plan_id}"):
            decision = await decide_rows(conn, org, rows)
        await _leave_all(conn, org, decision, plan_id, by)
        await execute(conn, "invalidations.reject", ids=list(ids))
        await record_review(conn, plan_id, PlanState.REJECTED, by)
    return Review(plan_id, PlanState.REJECTED, ids)


async def _leave_all(
    conn: Connection, org: OrgContext, decision: Decision, plan_id: UUID, by: str | None
) -> None:
    """Leave the plan's partitions stale, whether triggered directly or only if stale.

    Their readers are invalidated when a later run produces a different result.
    """
    lineage, steps = decision.lineage, decision.plan.steps
    invalidated = {
        step.job: list(step.partitions.space.keys(step.directly_invalidated)) for step in steps
    }
    if_stale = {
        step.job: list(step.partitions.space.keys(reached))
        for step in steps
        if (reached := step.reached_if_stale(lineage.job(step.job)))
    }
    rejection = StaleDecision(StaleDecisionKind.REJECTED, by, plan=plan_id)
    stale = await leave_stale(conn, lineage, invalidated, rejection, if_stale)
    rows = [
        (lineage.job(step.job), step.row_filters) for step in steps if step.directly_invalidated
    ]
    await leave_rows_unread(conn, lineage, rows, rejection)
    left = [(id_, stale_keys(stale, lineage.job(id_), keys)) for id_, keys in if_stale.items()]
    await mark_unverified(conn, org, lineage, [*invalidated.items(), *left], f"plan/{plan_id}")
