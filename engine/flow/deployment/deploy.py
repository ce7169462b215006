"""Deploy DAG files: create current DAG versions, with new versions of changed datasets.

A deploy is one transaction under the planning lock, with one plan for all of its DAGs.
"""

from collections.abc import Sequence
from dataclasses import replace
from uuid import UUID

from psycopg import Rollback

from engine.flow.deployment.deployment import Deployed
from engine.flow.deployment.job_quota import within_job_quota
from engine.flow.deployment.pending_deploys import read_pending_deploy, store_pending_deploy
from engine.flow.deployment.prepared_deploy import build, describe, prepare
from engine.flow.planning.approve import Review
from engine.flow.planning.approve import approve as approve_plan
from engine.flow.planning.pending_approval import require_within_quota
from engine.flow.planning.plan import decide_own
from engine.flow.planning.review import changes_since, lock_plan, record_review
from engine.flow.shared.org_context import OrgContext
from engine.model.dag import DagFile
from engine.model.states import PlanState
from engine.store.database import Connection
from engine.store.ids import new_id
from engine.store.orgs import lock_planning


async def preview(conn: Connection, org: OrgContext, dags: Sequence[DagFile]) -> Deployed:
    """Preview a deploy, which is rolled back. Raises InvalidDag as the deploy would."""
    async with conn.transaction() as transaction:
        await lock_planning(conn, org.id)
        async with within_job_quota(conn, org):
            prepared = await prepare(conn, org, dags, None)
        shown = await describe(conn, org, prepared)
        raise Rollback(transaction)
    return shown.without_versions()


async def deploy(
    conn: Connection,
    org: OrgContext,
    dags: Sequence[DagFile],
    by: str | None = None,
    *,
    is_limited: bool = False,
) -> Deployed:
    """Deploy DAG files together; unchanged content has no effect.

    ``by`` is the person who deploys. If it ``is_limited`` and its plan exceeds a limit, nothing is
    deployed, and the deploy is pending approval. Raises InvalidDag or QuotaExceeded, with nothing
    written.
    """
    async with conn.transaction():
        await lock_planning(conn, org.id)
        async with conn.transaction() as attempt:
            async with within_job_quota(conn, org):
                prepared = await prepare(conn, org, dags, by)
            described = await describe(conn, org, prepared)
            if is_limited and described.exceeded_limits:
                raise Rollback(attempt)
            tasks = await build(conn, org, prepared, new_id())
            return replace(described, tasks=tasks)
        plan_id = await store_pending_deploy(conn, org, prepared, described, by)
        return replace(described.without_versions(), pending_plan=plan_id)


async def approve(
    conn: Connection, org: OrgContext, plan_id: UUID, by: str | None = None
) -> Review:
    """Run a plan pending approval, of invalidations or of a deploy, in the current state.

    Raises UnknownName, InvalidInput if the plan is not pending approval, cannot be planned, or
    deploys a DAG that has been deployed since, and QuotaExceeded.
    """
    async with conn.transaction():
        row = await lock_plan(conn, org, plan_id, PlanState.PENDING_APPROVAL, PlanState.APPLIED)
        if row.event is None or row.state == PlanState.APPLIED:
            return await approve_plan(conn, org, plan_id, by)
        dags, author = await read_pending_deploy(conn, org, row.event)
        async with within_job_quota(conn, org):
            prepared = await prepare(conn, org, dags, author)
        # A plan without steps replaces the stored one as well.
        decision = prepared.decision or await decide_own(conn, org, [])
        await require_within_quota(conn, org, decision)
        changes = await changes_since(conn, row.document, decision)
        tasks = await build(conn, org, replace(prepared, decision=decision), plan_id)
        await record_review(conn, plan_id, PlanState.APPLIED, by)
    ids = tuple(invalidation.id for invalidation in decision.invalidations)
    return Review(plan_id, PlanState.APPLIED, ids, tasks, changes=changes)
