"""Users, roles and keys of an org, its terms of admission, and the record of their changes."""

from uuid import UUID

from engine.model.admission import Admission
from engine.model.states import Role
from engine.service.caller import Caller, requires
from engine.service.keyset import NEWEST
from engine.service.service import Service
from engine.store import orgs
from engine.store.rows.identity import AccessChange, KeyRow, OrgRole, User
from engine.store.run import fetch

__all__ = [
    "AccessChange",
    "KeyRow",
    "OrgRole",
    "User",
    "access_changes",
    "admission",
    "api_keys",
    "org_roles",
    "users",
]


@requires(Role.ADMIN)
async def users(caller: Caller, service: Service) -> list[User]:
    """Return the users of the org, by e-mail address."""
    async with service.snapshot(caller) as (conn, org):
        return await fetch(conn, "users.list", User, org_id=org.id)


@requires(Role.ADMIN)
async def org_roles(caller: Caller, service: Service) -> list[OrgRole]:
    """Return the roles defined by the org, with their members."""
    async with service.snapshot(caller) as (conn, org):
        return await fetch(conn, "org_roles.list", OrgRole, org_id=org.id)


@requires(Role.ADMIN)
async def api_keys(caller: Caller, service: Service) -> list[KeyRow]:
    """Return the keys of the org's users without their secrets, newest first."""
    async with service.snapshot(caller) as (conn, org):
        return await fetch(conn, "api_keys.list", KeyRow, org_id=org.id)


@requires(Role.ADMIN)
async def admission(caller: Caller, service: Service) -> Admission | None:
    """Return who is admitted to the org through the identity provider; None: nobody."""
    async with service.snapshot(caller) as (conn, org):
        return await orgs.admission(conn, org.id)


@requires(Role.ADMIN)
async def access_changes(
    caller: Caller, service: Service, limit: int = 50, before: UUID = NEWEST
) -> list[AccessChange]:
    """Return changes of users, roles, keys and settings before an id, newest first."""
    params = {"limit": limit, "before": before}
    async with service.snapshot(caller) as (conn, org):
        return await fetch(conn, "access_changes.list", AccessChange, org_id=org.id, **params)
