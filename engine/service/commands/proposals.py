"""Proposals: previews of changes, stored as plans to apply."""

from uuid import UUID

import msgspec

from engine.flow.deployment.propose import propose as plan_change
from engine.flow.planning.estimate import Estimate
from engine.model.event import SourceEvent
from engine.model.states import Role
from engine.service.caller import Caller, requires
from engine.service.names import dataset_named
from engine.service.queries.impacted_jobs import ImpactedJob, impacted_jobs
from engine.service.queries.pruning import PrunedEdge, pruned_edges
from engine.service.service import Service


class Impact(msgspec.Struct, frozen=True):
    """Impact of a change: jobs, upstream first, and the ``pruned`` edges where the change stops.

    With ``exceeded_limits``, an event with the change would need approval; applying the plan
    implies approval.
    """

    plan_id: UUID
    event: SourceEvent
    jobs: tuple[ImpactedJob, ...]
    pruned: tuple[PrunedEdge, ...]
    tasks: int
    estimate: Estimate
    exceeded_limits: tuple[str, ...]


@requires(Role.WRITER)
async def propose(caller: Caller, service: Service, event: SourceEvent) -> Impact:
    """Plan a change without effect, and store the plan. Raises InvalidInput like ingestion."""
    async with service.transaction(caller) as (conn, org):
        visible = await service.visibility(caller, conn, org)
        dataset_named(await org.lineage(conn), event.dataset, visible)
        proposal = await plan_change(conn, org, event, caller.user)
    decision = proposal.decision
    return Impact(
        plan_id=proposal.plan_id,
        event=event,
        jobs=impacted_jobs(decision, proposal.costs, proposal.continued),
        pruned=tuple(pruned_edges(decision.document["pruned"])),
        tasks=decision.tasks,
        estimate=proposal.estimate,
        exceeded_limits=tuple(map(str, proposal.exceeded_limits)),
    )
