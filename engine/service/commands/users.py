"""Users of an org, and their roles."""

import re

from engine.errors import InvalidInput
from engine.flow.shared.org_context import OrgContext
from engine.model.states import Role
from engine.service.access_changes import record_change
from engine.service.caller import Caller, requires
from engine.service.members import user_named
from engine.service.service import Service
from engine.store.database import Connection
from engine.store.rows.identity import NamedUser
from engine.store.run import execute, fetch

__all__ = ["NamedUser", "add_user", "remove_user", "set_user_role"]

_EMAIL = re.compile(r"[^\s@]{1,64}@[^\s@]{1,255}")
_LONGEST_ID = 1_000
_LOCAL = "local"
"""Issuer of users without an identity provider, whose subject is the e-mail address."""


@requires(Role.ADMIN)
async def add_user(
    caller: Caller,
    service: Service,
    email: str,
    role: Role,
    *,
    issuer: str | None = None,
    subject: str | None = None,
) -> NamedUser:
    """Add a person to the org; ``issuer`` and ``subject`` are those of the tokens of the person.

    Raises InvalidInput if the person is a user of the org already.
    """
    if not _EMAIL.fullmatch(email) or not email.isprintable():
        raise InvalidInput(f"{email!r} is not an e-mail address")
    async with service.transaction(caller) as (conn, org):
        external_id = _external_id(org, email, issuer, subject)
        added = await execute(
            conn, "users.insert", org_id=org.id, external_id=external_id, email=email, role=role
        )
        if not added:
            raise InvalidInput(
                f"{email!r} is a user already: change the role with 'knockon users set-role'"
            )
        await record_change(conn, caller, "user.added", email, after={"role": role})
        return await user_named(conn, org, external_id)


def _external_id(org: OrgContext, email: str, issuer: str | None, subject: str | None) -> str:
    """Return the id of a person in an org: subjects are unique only within an issuer."""
    if (issuer is None) != (subject is None):
        raise InvalidInput("a subject is unique within an issuer only: give both, or none")
    text = f"{issuer or _LOCAL}#{subject or email}"
    if len(text) > _LONGEST_ID or not text.isprintable():
        raise InvalidInput(f"the issuer and subject must have at most {_LONGEST_ID:,} characters")
    return f"{org.id}:{text}"


@requires(Role.ADMIN)
async def set_user_role(caller: Caller, service: Service, user: str, role: Role) -> NamedUser:
    """Give a user another role. Raises UnknownName, and InvalidInput for the last admin."""
    async with service.transaction(caller) as (conn, org):
        row = await _changeable(conn, org, caller, user, role)
        if row.role != role:
            await execute(conn, "users.set_role", id=row.id, org_id=org.id, role=role)
            before, after = {"role": row.role}, {"role": role}
            await record_change(
                conn, caller, "user.role_changed", row.email, before=before, after=after
            )
        return NamedUser(row.id, row.external_id, row.email, role)


@requires(Role.ADMIN)
async def remove_user(caller: Caller, service: Service, user: str) -> NamedUser:
    """Remove a user, with keys and memberships; records keep the name.

    Raises UnknownName, and InvalidInput for the last admin.
    """
    async with service.transaction(caller) as (conn, org):
        row = await _changeable(conn, org, caller, user, None)
        await execute(conn, "users.delete", id=row.id, org_id=org.id)
        await record_change(conn, caller, "user.removed", row.email, before={"role": row.role})
        return row


async def _changeable(
    conn: Connection, org: OrgContext, caller: Caller, user: str, role: Role | None
) -> NamedUser:
    """Lock and return a user who is to have another role, None: to be removed.

    Only an operator, who can add another one, takes the last admin from an org.
    """
    admins = await fetch(conn, "users.lock_admins", NamedUser, org_id=org.id)
    row = await user_named(conn, org, user)
    is_last = [admin.id for admin in admins] == [row.id]
    if is_last and role is not Role.ADMIN and not caller.is_operator:
        raise InvalidInput(
            f"{row.email!r} is the last admin of the org: make another user an admin first"
        )
    return row
