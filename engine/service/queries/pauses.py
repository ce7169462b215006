"""Paused jobs, datasets and orgs."""

from engine.model.states import Role
from engine.service.caller import Caller, requires
from engine.service.service import Service
from engine.store.rows.pauses import Pause
from engine.store.run import fetch

__all__ = ["Pause", "pauses"]


@requires(Role.READER)
async def pauses(caller: Caller, service: Service) -> list[Pause]:
    """List everything in the org that is paused."""
    async with service.snapshot(caller) as (conn, org):
        visible = await service.visibility(caller, conn, org)
        rows = await fetch(conn, "pauses.list", Pause, org_id=org.id)
        return [row for row in rows if visible.sees_pause(row)]
