"""Settings of an org."""

from engine.model.states import Role
from engine.service.caller import Caller, requires
from engine.service.service import Service
from engine.store.orgs import OrgSettings
from engine.store.orgs import settings as load_settings

__all__ = ["OrgSettings", "settings"]


@requires(Role.READER)
async def settings(caller: Caller, service: Service) -> OrgSettings:
    """Return the settings of the org."""
    async with service.snapshot(caller) as (conn, org):
        return await load_settings(conn, org.id)
