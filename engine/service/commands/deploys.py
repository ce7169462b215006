"""Deploy DAGs."""

from collections.abc import Sequence

from engine.flow.deployment import deploy as deployment
from engine.flow.deployment.deployment import Deployed
from engine.model.dag import DagFile
from engine.model.states import Role
from engine.service.caller import Caller, requires
from engine.service.deadlocks import again_after_deadlock
from engine.service.queries.deploys import Deploy, Deployment, require_visible_dags, view_of
from engine.service.service import Service
from engine.service.tenant_deploys import require_permitted

__all__ = ["Deploy", "Deployment", "deploy"]


@requires(Role.WRITER)
async def deploy(caller: Caller, service: Service, dags: Sequence[DagFile]) -> Deploy:
    """Deploy DAGs together; unchanged content has no effect.

    A deploy that exceeds a limit is left pending approval. Raises InvalidDag, and Forbidden for
    what only operators may deploy, or if a DAG contains or names datasets hidden from the caller.
    """

    async def attempt() -> Deployed:
        async with service.transaction(caller) as (conn, org):
            await require_permitted(conn, org, caller, dags)
            visible = await service.visibility(caller, conn, org)
            require_visible_dags(await org.lineage(conn), visible, dags)
            return await deployment.deploy(conn, org, dags, caller.user, is_limited=True)

    return view_of(await again_after_deadlock(attempt))
