"""Plans pending approval: they exceed a limit, and their invalidations stay open.

Meanwhile no tasks are created for these invalidations and no planner takes them. Other
invalidations are not affected.
"""

from collections.abc import Mapping, Sequence
from dataclasses import asdict, replace
from typing import Any
from uuid import UUID

from psycopg.types.json import Jsonb

from engine.errors import QuotaExceeded
from engine.flow.planning.continued import load_continued
from engine.flow.planning.decision import Decision
from engine.flow.planning.estimate import Estimate, costs
from engine.flow.shared.load_partitions import load_existing
from engine.flow.shared.org_context import OrgContext
from engine.partitions import PartitionSet
from engine.planner import LimitExceeded, Plan, exceeded_limits
from engine.store.database import Connection
from engine.store.ids import new_id
from engine.store.orgs import settings
from engine.store.run import execute


async def limits_exceeded(
    conn: Connection,
    org: OrgContext,
    decision: Decision,
    continued: Mapping[UUID, PartitionSet] | None = None,
) -> list[LimitExceeded]:
    """Return the limits exceeded by a plan, both of its org and of its jobs.

    The ``continued`` partitions, which its changes may reach later along chains, count as well;
    None: they are loaded if there is a limit.
    """
    lineage, plan = decision.lineage, decision.plan
    of_org = await settings(conn, org.id)
    limit, quota = of_org.blast_radius, of_org.partitions_per_plan
    if continued is None:
        of_jobs = (lineage.job(step.job).blast_radius for step in plan.steps)
        is_limited = any(each is not None for each in (limit, quota, *of_jobs))
        continued = await load_continued(conn, lineage, plan) if is_limited else {}
    return list(exceeded_limits(plan, lineage, limit, continued, quota))


async def require_within_quota(conn: Connection, org: OrgContext, decision: Decision) -> None:
    """Raise QuotaExceeded for a plan beyond the org's quota, which no approval lifts."""
    if (await settings(conn, org.id)).partitions_per_plan is None:
        return
    for exceeded in await limits_exceeded(conn, org, decision):
        if exceeded.is_quota:
            raise QuotaExceeded(
                f"{exceeded}: change fewer partitions at once, or have an operator raise the quota "
                "with 'knockon org set partitions_per_plan'"
            )


async def store_pending(
    conn: Connection, org: OrgContext, decision: Decision, exceeded: Sequence[LimitExceeded]
) -> UUID:
    """Store a plan as pending approval; return its id."""
    plan_id = new_id()
    ids = [invalidation.id for invalidation in decision.invalidations]
    estimate = Estimate.of((await costs(conn, decision)).values())
    await insert_pending(
        conn, org, plan_id, ids, decision.document, decision.tasks, estimate, exceeded
    )
    await execute(conn, "invalidations.assign_to_pending_plan", plan_id=plan_id, ids=ids)
    return plan_id


async def insert_pending(
    conn: Connection,
    org: OrgContext,
    plan_id: UUID,
    invalidations: Sequence[UUID],
    document: Mapping[str, Any],
    tasks: int,
    estimate: Estimate,
    exceeded: Sequence[LimitExceeded],
    event: Mapping[str, Any] | None = None,
) -> None:
    """Write a plan pending approval; ``event`` has the files of a deploy."""
    await execute(
        conn,
        "plans.insert_pending",
        id=plan_id,
        org_id=org.id,
        epoch=org.epoch,
        invalidation_ids=list(invalidations),
        document=Jsonb(document),
        task_count=tasks,
        estimate=Jsonb(asdict(estimate)),
        exceeded_limits="\n".join(map(str, exceeded)),
        event=None if event is None else Jsonb(event),
    )


async def restrict_to_existing(conn: Connection, decision: Decision) -> Plan:
    """Return the plan, with its changes restricted to partitions that already exist.

    The change has happened whether or not the plan is approved, so readers of existing partitions
    are stale. New partitions stay unregistered, so that no other change can trigger them before
    approval; once they are planned, all of their columns count as changed.
    """
    changed = {}
    for dataset, changes in decision.plan.changed.items():
        existing = await load_existing(conn, decision.lineage, dataset)
        changed[dataset] = tuple(
            change._replace(partitions=change.partitions & existing) for change in changes
        )
    return replace(decision.plan, changed=changed)
