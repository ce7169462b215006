"""Callers identified by a key."""

from engine.errors import Unauthenticated
from engine.model.api_key import ApiKey
from engine.model.states import KeyScope, Role
from engine.service.caller import Caller, Org
from engine.service.errors import database_errors
from engine.service.service import Service
from engine.store.rows.identity import KeyOrg, ValidKey
from engine.store.run import execute, fetch_one


async def authenticate(service: Service, text: str, origin: str) -> Caller:
    """Return the caller for whom a key acts, and record the use of the key.

    Raises Unauthenticated, with one message for all keys that are not valid.
    """
    key = ApiKey.parse(text)
    if key is None:
        raise Unauthenticated("this is no key of Knockon: a key begins with kn_")
    with database_errors():
        row = await _valid_key(service, key)
    if row is None:
        raise Unauthenticated(
            "the key is unknown, has expired or was revoked: have an admin of the org create "
            "another"
        )
    return Caller(
        Org(row.org_id, row.org),
        row.email,
        Role(row.role),
        scopes=frozenset(map(KeyScope, row.scopes)),
        origin=origin,
        org_roles=frozenset(row.org_roles),
    )


async def _valid_key(service: Service, key: ApiKey) -> ValidKey | None:
    async with service.database.connection() as conn:
        org = await fetch_one(conn, "api_keys.org", KeyOrg, prefix=key.prefix)
    if org is None:
        return None
    async with service.database.org_connection(org.id) as conn, conn.transaction():
        row = await fetch_one(conn, "api_keys.by_prefix", ValidKey, prefix=key.prefix)
        if row is None or not key.has_hash(row.hash):
            return None
        if row.is_use_unrecorded:
            await execute(conn, "api_keys.record_use", id=row.id)
        return row
