"""Users and roles of an org, named in requests."""

from engine.errors import InvalidInput, UnknownName
from engine.flow.shared.org_context import OrgContext
from engine.store.database import Connection
from engine.store.rows.identity import NamedOrgRole, NamedUser
from engine.store.run import fetch, fetch_one


async def user_named(conn: Connection, org: OrgContext, name: str) -> NamedUser:
    """Lock and return the user with an e-mail address, external id or id.

    Raises UnknownName; InvalidInput if several users have the address.
    """
    rows = await fetch(conn, "users.named", NamedUser, org_id=org.id, name=name)
    if not rows:
        raise UnknownName(f"there is no user {name!r} in this org: 'knockon users' lists them")
    if len(rows) > 1:
        ids = ", ".join(row.external_id for row in rows)
        raise InvalidInput(f"several users have the address {name!r}: give one of {ids}")
    return rows[0]


async def org_role_named(conn: Connection, org: OrgContext, slug: str) -> NamedOrgRole:
    """Lock and return the role with a slug. Raises UnknownName."""
    role = await fetch_one(conn, "org_roles.by_slug", NamedOrgRole, org_id=org.id, slug=slug)
    if role is None:
        raise UnknownName(f"there is no role {slug!r} in this org: 'knockon roles' lists them")
    return role
