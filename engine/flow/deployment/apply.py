"""Apply a proposed plan exactly as shown, or not at all.

The proposed change is ingested and planned separately from other changes. If the result differs
from the stored plan, the transaction is rolled back. Applying implies approval, so that of all
limits, only the org's quota applies to a plan reviewed by a person.
"""

from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any
from uuid import UUID

import msgspec
from psycopg import Rollback

from engine.errors import InvalidInput
from engine.flow.deployment.propose import PROPOSED_BY
from engine.flow.ingestion.ingest import ingest
from engine.flow.ingestion.resolve import resolve
from engine.flow.planning.decision import Decision, decide_rows
from engine.flow.planning.pending_approval import require_within_quota
from engine.flow.planning.plan import execute_plan
from engine.flow.planning.review import changes_since, lock_plan, record_review
from engine.flow.planning.set_aside import planning
from engine.flow.shared.org_context import OrgContext
from engine.model.event import MANUAL, Batch, Delivery, Received, SourceEvent
from engine.model.states import PlanState
from engine.planner import Difference
from engine.store.database import Connection
from engine.store.rows.invalidations import LockedInvalidation
from engine.store.run import fetch


@dataclass(frozen=True, slots=True)
class Applied:
    """Result of applying a plan; if ``changes`` is not empty, nothing ran and nothing was written.

    ``is_new`` is False if the plan had already been applied.
    """

    plan_id: UUID
    invalidations: tuple[UUID, ...]
    tasks: int
    is_new: bool = True
    changes: tuple[Difference, ...] = ()


async def apply(conn: Connection, org: OrgContext, plan_id: UUID, by: str | None = None) -> Applied:
    """Run a proposed plan, once.

    Raises UnknownName, InvalidInput if the plan is not proposed or its change cannot be planned,
    and QuotaExceeded.
    """
    async with conn.transaction() as transaction:
        row = await lock_plan(conn, org, plan_id, PlanState.PROPOSED, PlanState.APPLIED)
        if row.state == PlanState.APPLIED:
            return Applied(plan_id, tuple(row.invalidation_ids), row.task_count, is_new=False)
        with planning(f"plan {plan_id}"):
            decision = await _ingested(conn, org, plan_id, row.event or {})
            changes = await changes_since(conn, row.document, decision)
        if changes:
            raise Rollback(transaction)
        await require_within_quota(conn, org, decision)
        with planning(f"plan {plan_id}"):
            planned = await execute_plan(conn, org, decision, plan_id)
        await record_review(conn, plan_id, PlanState.APPLIED, by)
    ids = () if changes else tuple(invalidation.id for invalidation in decision.invalidations)
    return Applied(plan_id, ids, 0 if changes else planned.tasks, changes=changes)


async def _ingested(
    conn: Connection, org: OrgContext, plan_id: UUID, stored: Mapping[str, Any]
) -> Decision:
    """Ingest the plan's change, and plan its invalidations. Raises InvalidInput."""
    event = msgspec.structs.replace(
        msgspec.convert(
            {name: each for name, each in stored.items() if name != PROPOSED_BY}, SourceEvent
        ),
        id=f"plan/{plan_id}",
        source="knockon apply",
        fingerprint=None,  # later events may have described the partitions since the proposal
    )
    received = Received.one(event, Delivery(MANUAL, f"plan/{plan_id}"))
    resolve(await org.lineage(conn), received)
    written = await ingest(conn, org, Batch(consumer=MANUAL, received=(received,)))
    if written.rejections:
        raise InvalidInput(written.rejections[0].error)
    rows = await fetch(
        conn, "invalidations.lock_these", LockedInvalidation, ids=list(written.invalidations)
    )
    return await decide_rows(conn, org, rows)
