"""Previews of deploys."""

from engine.flow.deployment import deploy as deployment
from engine.flow.deployment.deploy import Deployment
from engine.model.dag import DagFile
from engine.model.states import Role
from engine.service.caller import Caller, requires
from engine.service.service import Service


@requires(Role.READER)
async def preview(caller: Caller, service: Service, dag: DagFile) -> Deployment:
    """Return the changes of a deploy of the DAG. Raises InvalidDag like the deploy."""
    async with service.transaction(caller) as (conn, org):
        return await deployment.preview(conn, org, dag)
