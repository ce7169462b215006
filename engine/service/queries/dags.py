"""Deployed DAGs."""

from engine.model.states import Role
from engine.service.caller import Caller, requires
from engine.service.queries.status import DeployedDag
from engine.service.service import Service
from engine.store.run import fetch

__all__ = ["DeployedDag", "dags"]


@requires(Role.READER)
async def dags(caller: Caller, service: Service) -> list[DeployedDag]:
    """List the DAGs of the org in their current versions, by name."""
    async with service.snapshot(caller) as (conn, org):
        visible = await service.visibility(caller, conn, org)
        rows = await fetch(conn, "views.dags", DeployedDag, org_id=org.id)
        return [row for row in rows if row.name not in visible.dags]
