"""Settings of an org."""

from typing import Literal

from engine.errors import InvalidInput
from engine.model.states import Role
from engine.service.caller import Caller, requires
from engine.service.service import Service
from engine.store.orgs import OrgSettings, set_setting, settings

_LARGEST_INT = 2**31 - 1


@requires(Role.ADMIN)
async def set_blast_radius(caller: Caller, service: Service, limit: int | None) -> OrgSettings:
    """Limit the partitions recomputed by a plan without approval; None for no limit."""
    if limit is not None and not 1 <= limit <= _LARGEST_INT:
        raise InvalidInput(f"{limit} is not a limit: give a number of partitions from 1, or none")
    async with service.transaction(caller) as (conn, org):
        await set_setting(conn, org.id, "blast_radius", limit)
        return await settings(conn, org.id)


@requires(Role.ADMIN, operator=True)
async def set_grants(
    caller: Caller, service: Service, grants: Literal["dag_files"] | None
) -> OrgSettings:
    """Set whether DAG files grant tables to the org's SQL jobs, or only operators do.

    Reserved for operators, because with ``dag_files`` a deploy grants every table in the DAG file.
    """
    async with service.transaction(caller) as (conn, org):
        await set_setting(conn, org.id, "grants", grants)
        return await settings(conn, org.id)
