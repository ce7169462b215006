"""Roles defined by an org, whose members may read datasets restricted to them."""

import re

from engine.errors import InvalidInput
from engine.model.states import Role
from engine.service.access_changes import record_change
from engine.service.caller import Caller, requires
from engine.service.members import org_role_named, user_named
from engine.service.service import Service
from engine.store.rows.identity import DatasetName, NamedOrgRole
from engine.store.run import execute, fetch
from engine.wording import some

__all__ = ["NamedOrgRole", "add_org_role", "grant_org_role", "remove_org_role", "revoke_org_role"]

_SLUG = re.compile(r"[a-z0-9][a-z0-9_-]{0,62}")
_LONGEST_NAME = 100


@requires(Role.ADMIN)
async def add_org_role(
    caller: Caller, service: Service, slug: str, name: str | None = None
) -> NamedOrgRole:
    """Add a role without members. Raises InvalidInput if there is one of this slug."""
    name = slug if name is None else name
    if not _SLUG.fullmatch(slug):
        raise InvalidInput(
            f"{slug!r} is not the slug of a role: write at most 63 lower-case letters, digits, "
            "hyphens and underscores, the first of them a letter or digit"
        )
    if not name or len(name) > _LONGEST_NAME or not name.isprintable():
        raise InvalidInput(f"the name of a role has 1 to {_LONGEST_NAME} printable characters")
    async with service.transaction(caller) as (conn, org):
        if not await execute(conn, "org_roles.insert", org_id=org.id, slug=slug, name=name):
            raise InvalidInput(f"there is a role {slug!r} already: choose another slug")
        await record_change(conn, caller, "role.added", slug, after={"name": name})
        return await org_role_named(conn, org, slug)


@requires(Role.ADMIN)
async def remove_org_role(caller: Caller, service: Service, slug: str) -> NamedOrgRole:
    """Remove a role with its memberships.

    Raises UnknownName; InvalidInput while datasets are restricted to the role.
    """
    async with service.transaction(caller) as (conn, org):
        role = await org_role_named(conn, org, slug)
        datasets = await fetch(
            conn, "org_roles.readable_datasets", DatasetName, org_id=org.id, slug=slug
        )
        if datasets:
            raise InvalidInput(
                f"datasets are restricted to the role {slug!r}: deploy "
                f"{some(row.name for row in datasets)} without it first"
            )
        await execute(conn, "org_roles.delete", id=role.id, org_id=org.id)
        await record_change(conn, caller, "role.removed", slug, before={"name": role.name})
        return role


@requires(Role.ADMIN)
async def grant_org_role(caller: Caller, service: Service, slug: str, user: str) -> bool:
    """Make a user a member of a role; return False if already one. Raises UnknownName."""
    return await _set_membership(caller, service, slug, user, is_member=True)


@requires(Role.ADMIN)
async def revoke_org_role(caller: Caller, service: Service, slug: str, user: str) -> bool:
    """End the membership of a user; return False if there was none. Raises UnknownName."""
    return await _set_membership(caller, service, slug, user, is_member=False)


async def _set_membership(
    caller: Caller, service: Service, slug: str, user: str, *, is_member: bool
) -> bool:
    async with service.transaction(caller) as (conn, org):
        role, row = await org_role_named(conn, org, slug), await user_named(conn, org, user)
        statement = "org_roles.add_member" if is_member else "org_roles.remove_member"
        has_changed = bool(await execute(conn, statement, role=role.id, user=row.id))
        if has_changed:
            change = "role.granted" if is_member else "role.revoked"
            await record_change(
                conn,
                caller,
                change,
                slug,
                before=None if is_member else {"user": row.email},
                after={"user": row.email} if is_member else None,
            )
        return has_changed
