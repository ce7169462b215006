"""Admission of people through the identity provider, and what their groups grant.

A token is applied once: a token issued earlier than the newest one changes nothing, so that a group
that was lost does not return with an old token.
"""

import msgspec
import structlog

from engine.errors import Forbidden
from engine.model.admission import Admission
from engine.model.person import Person, external_id
from engine.model.states import GrantSource, Role
from engine.service.access_changes import record_change
from engine.service.caller import Caller, Org
from engine.service.errors import database_errors
from engine.service.service import Service
from engine.store.database import Connection
from engine.store.rows.identity import KnownPerson, RoleSlug, UserId
from engine.store.run import execute, fetch, fetch_last, fetch_one

_log = structlog.get_logger(__name__)
_ORIGIN = "identity provider"
_NOT_ADMITTED = (
    "the person of the token is not a user of the org, or of several orgs: name the org (header "
    "Knockon-Org, or ?org= of a login), and have an admin of the org admit you"
)


async def authenticate_person(
    service: Service, person: Person, org: str | None, origin: str
) -> Caller:
    """Return the caller for a person, by default in the only org of the person.

    Adds the person, and applies the groups, as the org has configured it. Raises Forbidden, with
    one message for unknown orgs and orgs that do not admit the person.
    """
    if org is not None and not org.isprintable():
        raise Forbidden(_NOT_ADMITTED)
    with database_errors():
        async with service.database.connection() as conn:
            known = await _known(conn, person, org)
        if known is not None and _has_news(known, person):
            await _apply(service, known, person)
            async with service.database.connection() as conn:
                known = await _known(conn, person, known.org)
    if known is None or known.role is None or known.is_suspended or not _admits(known, person):
        raise Forbidden(_NOT_ADMITTED)
    return Caller(
        Org(known.org_id, known.org),
        known.email,
        Role(known.role),
        origin=origin,
        org_roles=frozenset(known.org_roles),
        user_id=known.user_id,
    )


async def _known(conn: Connection, person: Person, org: str | None) -> KnownPerson | None:
    # Each request with a token begins with this: one round trip, with or without such an org.
    return await fetch_last(
        conn,
        "users.person",
        KnownPerson,
        first="users.restrict_to_person",
        person=person.key,
        org=org,
    )


def _admission(known: KnownPerson) -> Admission | None:
    return msgspec.convert(known.admission, Admission | None)


def _admits(known: KnownPerson, person: Person) -> bool:
    admission = _admission(known)
    return admission is not None and admission.issuer == person.issuer


def _has_news(known: KnownPerson, person: Person) -> bool:
    """Return whether the token adds the person, or was issued after those applied so far."""
    admission = _admission(known)
    if admission is None or admission.issuer != person.issuer:
        return False
    if known.user_id is None:
        grants_role = admission.role_of(person.groups) is not None
        return admission.creates_users and grants_role and not known.is_removed
    return known.groups_at is None or known.groups_at < person.issued_at


async def _apply(service: Service, known: KnownPerson, person: Person) -> None:
    """Add the person if missing, and apply the groups of the token in the same transaction."""
    caller = Caller(Org(known.org_id, known.org), None, Role.READER, origin=_ORIGIN)
    async with service.transaction(caller) as (conn, _):
        if known.user_id is None:
            await _add(conn, caller, known, person)
        else:
            await fetch_one(conn, "users.lock", UserId, id=known.user_id, org_id=known.org_id)
        # After an insert, which has waited for a concurrent removal.
        current = await _known(conn, person, known.org)
        if current is not None and current.is_removed:
            raise Forbidden(_NOT_ADMITTED)
        if current is None or current.user_id is None:
            _log.warning("a person is not added: a user has the e-mail address", org=known.org)
        elif _has_news(current, person):
            await _apply_groups(conn, caller, current, person)


async def _add(conn: Connection, caller: Caller, known: KnownPerson, person: Person) -> None:
    """Add a person, unless the address is that of a user. Raises Forbidden without an address."""
    admission = _admission(known)
    role = admission and admission.role_of(person.groups)
    ids = {"org_id": known.org_id, "external_id": external_id(known.org_id, person.key)}
    if person.email is None:
        _log.warning("a person without a verified e-mail address is not added", org=known.org)
        raise Forbidden(_NOT_ADMITTED)
    if await execute(conn, "users.insert_person", email=person.email, role=role, **ids):
        await record_change(conn, caller, "user.added", person.email, after={"role": role})


async def _apply_groups(
    conn: Connection, caller: Caller, known: KnownPerson, person: Person
) -> None:
    admission = _admission(known)
    assert admission is not None  # noqa: S101  checked by _has_news
    user = {"id": known.user_id, "org_id": known.org_id}
    if known.source == GrantSource.GROUPS:
        await _apply_role(conn, caller, known, admission.role_of(person.groups))
    slugs = admission.org_roles_of(person.groups)
    changes = {"user": known.user_id, "org_id": known.org_id, "slugs": slugs}
    for row in await fetch(conn, "org_roles.revoke_by_groups", RoleSlug, **changes):
        before = {"user": known.email}
        await record_change(conn, caller, "role.revoked", row.slug, before=before)
    for row in await fetch(conn, "org_roles.grant_by_groups", RoleSlug, **changes):
        await record_change(conn, caller, "role.granted", row.slug, after={"user": known.email})
    await execute(conn, "users.record_groups", issued_at=person.issued_at, **user)


async def _apply_role(
    conn: Connection, caller: Caller, known: KnownPerson, role: Role | None
) -> None:
    """Give a user the role granted by groups; without one, suspend the user."""
    before = None if known.is_suspended else known.role
    if role == before:
        return
    await execute(
        conn, "users.set_role_by_groups", id=known.user_id, org_id=known.org_id, role=role
    )
    await record_change(
        conn,
        caller,
        "user.role_changed",
        known.email or "",
        before={"role": before},
        after={"role": role},
    )
