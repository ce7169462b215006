"""Previews of deploys."""

from collections.abc import Iterator, Sequence
from uuid import UUID

import msgspec

from engine.errors import Forbidden
from engine.flow.deployment import deploy as deployment
from engine.flow.deployment.deployment import Deployed, Deployment
from engine.flow.planning.estimate import Estimate
from engine.lineage.graph import Lineage
from engine.model.dag import DagFile
from engine.model.states import Role
from engine.service.caller import Caller, requires
from engine.service.deadlocks import again_after_deadlock
from engine.service.queries.impacted_jobs import ImpactedJob, impacted_jobs
from engine.service.service import Service
from engine.service.visibility import Visibility

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
    """Return the effects of deploying DAGs together. Raises as the deploy does."""

    async def attempt() -> Deployed:
        async with service.transaction(caller) as (conn, org):
            visible = await service.visibility(caller, conn, org)
            require_visible_dags(await org.lineage(conn), visible, dags)
            return await deployment.preview(conn, org, dags)

    return view_of(await again_after_deadlock(attempt))


def require_visible_dags(lineage: Lineage, visible: Visibility, dags: Sequence[DagFile]) -> None:
    """Raise Forbidden if a DAG contains or reads hidden datasets, as a file or as deployed.

    The errors and differences of a deploy would describe them, and a job could copy them.
    """
    if visible.is_full:
        return
    partial = {job.dag_name for job in lineage.order if not visible.sees_work_of(job)}
    partial |= visible.partly_hidden_dags
    for dag in dags:
        if dag.dag in partial or not visible.dataset_names.isdisjoint(_named(dag)):
            raise Forbidden(
                f"DAG {dag.dag!r} contains or names datasets that are hidden from you: have "
                "someone with their roles, or an admin, deploy it"
            )


def _named(dag: DagFile) -> Iterator[str]:
    for job in dag.jobs:
        yield from (read.dataset for read in job.inputs)
        yield from (output.dataset for output in job.outputs)


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
