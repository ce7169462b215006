"""Deploy DAGs."""

from engine.flow.deployment import deploy as deployment
from engine.flow.deployment.deploy import Deployment
from engine.model.dag import DagFile
from engine.model.states import Role
from engine.service.caller import Caller, requires
from engine.service.service import Service

__all__ = ["Deployment", "deploy"]


@requires(Role.WRITER)
async def deploy(caller: Caller, service: Service, dag: DagFile) -> Deployment:
    """Deploy a DAG; unchanged content has no effect. Raises InvalidDag."""
    async with service.transaction(caller) as (conn, org):
        return await deployment.deploy(conn, org, dag, caller.user)
