"""Users of an org, and their roles."""

from engine.errors import InvalidInput
from engine.flow.shared.org_context import OrgContext
from engine.model.person import LOCAL_ISSUER, external_id, is_address, person_key
from engine.model.states import Role
from engine.service.access_changes import record_change
from engine.service.caller import Caller, requires
from engine.service.members import user_named
from engine.service.service import Service
from engine.store.database import Connection
from engine.store.rows.identity import NamedUser
from engine.store.run import execute, fetch

__all__ = ["NamedUser", "add_user", "remove_user", "set_user_role"]


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
    if not is_address(email):
        raise InvalidInput(f"{email!r} is not an e-mail address")
    async with service.transaction(caller) as (conn, org):
        person = _external_id(org, email, issuer, subject)
        added = await execute(
            conn, "users.insert", org_id=org.id, external_id=person, email=email, role=role
        )
        if not added:
            raise InvalidInput(
                f"{email!r} is a user already: change the role with 'knockon users set-role'"
            )
        await execute(conn, "users.forget_removal", org_id=org.id, external_id=person)
        await record_change(conn, caller, "user.added", email, after={"role": role})
        return await user_named(conn, org, person)


def _external_id(org: OrgContext, email: str, issuer: str | None, subject: str | None) -> str:
    """Return the id of a person in an org."""
    if (issuer is None) != (subject is None):
        raise InvalidInput("a subject is unique within an issuer only: give both, or none")
    try:
        return external_id(org.id, person_key(issuer or LOCAL_ISSUER, subject or email))
    except ValueError as error:
        raise InvalidInput(str(error)) from None


@requires(Role.ADMIN)
async def set_user_role(caller: Caller, service: Service, user: str, role: Role) -> NamedUser:
    """Give a user a role, which groups do not change from then on.

    Raises UnknownName, and InvalidInput for the last admin.
    """
    async with service.transaction(caller) as (conn, org):
        row = await _changeable(conn, org, caller, user, role)
        if await execute(conn, "users.set_role", id=row.id, org_id=org.id, role=role):
            before, after = {"role": row.role}, {"role": role}
            await record_change(
                conn, caller, "user.role_changed", row.email, before=before, after=after
            )
        return NamedUser(row.id, row.external_id, row.email, role)


@requires(Role.ADMIN)
async def remove_user(caller: Caller, service: Service, user: str) -> NamedUser:
    """Remove a user, with keys, sessions and memberships; records keep the name.

    Groups do not add the user again. Raises UnknownName, and InvalidInput for the last admin.
    """
    async with service.transaction(caller) as (conn, org):
        row = await _changeable(conn, org, caller, user, None)
        await execute(conn, "users.record_removal", org_id=org.id, external_id=row.external_id)
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
