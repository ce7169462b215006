"""Previews of deploys."""

from collections.abc import Sequence
from uuid import UUID

import msgspec

from engine.flow.deployment import deploy as deployment
from engine.flow.deployment.deployment import Deployed, Deployment
from engine.flow.planning.estimate import Estimate
from engine.model.dag import DagFile
from engine.model.states import Role
from engine.service.caller import Caller, requires
from engine.service.deadlocks import again_after_deadlock
from engine.service.queries.impacted_jobs import ImpactedJob, impacted_jobs
from engine.service.service import Service

__all__ = ["Deploy", "Deployment", "preview", "view_of"]


class Deploy(msgspec.Struct, frozen=True):
    """Result or preview of a deploy: its DAGs in the given order, and everything to be built.

    ``followed`` are other DAGs, deployed again because their SQL now reads different columns of
    these, or their inputs have other bounds. ``jobs`` are those of all DAGs, upstream first.
    ``invalidations`` are what is built. ``pending_plan`` is to be approved before anything is
    deployed.
    """

    dags: tuple[Deployment, ...]
    followed: tuple[str, ...]
    jobs: tuple[ImpactedJob, ...]
    tasks: int
    invalidations: tuple[UUID, ...]
    estimate: Estimate
    exceeded_limits: tuple[str, ...]
    pending_plan: UUID | None


@requires(Role.READER)
async def preview(caller: Caller, service: Service, dags: Sequence[DagFile]) -> Deploy:
    """Return the effects of deploying DAGs together. Raises InvalidDag like the deploy."""

    async def attempt() -> Deployed:
        async with service.transaction(caller) as (conn, org):
            return await deployment.preview(conn, org, dags)

    return view_of(await again_after_deadlock(attempt))


def view_of(deployed: Deployed) -> Deploy:
    """Describe a deploy."""
    decision = deployed.decision
    return Deploy(
        dags=deployed.dags,
        followed=deployed.followed,
        jobs=impacted_jobs(decision, deployed.costs) if decision else (),
        tasks=deployed.tasks,
        invalidations=tuple(each.id for each in decision.invalidations) if decision else (),
        estimate=deployed.estimate,
        exceeded_limits=tuple(map(str, deployed.exceeded_limits)),
        pending_plan=deployed.pending_plan,
    )
