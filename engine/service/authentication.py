"""Callers identified by a key, by the token of a task, or by a token of the identity provider."""

from collections.abc import Sequence
from uuid import UUID

from engine.errors import Unauthenticated
from engine.flow.execution.worker_leases import held_tokens, lease_lost
from engine.model.api_key import ApiKey
from engine.model.states import KeyScope, Role
from engine.model.task_token import TaskToken
from engine.service.admissions import authenticate_person
from engine.service.caller import Caller, Org
from engine.service.errors import database_errors
from engine.service.service import Service
from engine.store.rows.identity import ValidKey
from engine.store.run import execute, fetch_last


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
        key_id=row.id,
        user_id=row.user_id,
    )


async def authenticate_token(service: Service, text: str, org: str | None, origin: str) -> Caller:
    """Return the caller of a token of the identity provider; ``org`` is the slug of the org.

    Raises Unauthenticated, Forbidden.
    """
    if service.identity_provider is None:
        raise Unauthenticated(
            "no identity provider is configured: use a key, which begins with kn_"
        )
    return await authenticate_person(
        service, await service.identity_provider.person(text), org, origin
    )


async def authenticate_task(service: Service, text: str, origin: str) -> Caller:
    """Return the caller for whom the token of a task acts.

    Raises Unauthenticated for a text that is no token, and LeaseLost for any other token without a
    lease.
    """
    token = TaskToken.parse(text)
    if token is None:
        raise Unauthenticated("this is no token of a task: send the `token` of the claim unchanged")
    with database_errors():
        is_held = await service.batches(_are_held).add(token.org_id, token)
    if not is_held:
        raise lease_lost(token.task_id)
    return Caller.worker(token, origin)


async def _are_held(service: Service, org_id: UUID, tokens: Sequence[TaskToken]) -> list[bool]:
    """Look up the leases of concurrent requests of an org, which a forged token may name."""
    # No lineage is cached for the org.
    async with service.database.org_connection(org_id) as conn:
        held = await held_tokens(conn, tokens)
    return [token in held for token in tokens]


async def _valid_key(service: Service, key: ApiKey) -> ValidKey | None:
    row = await service.batches(_look_up).add(key.prefix, None)
    if row is None or not key.has_hash(row.hash):
        return None
    service.remember_key(key.prefix, row.org_id)
    if row.is_use_unrecorded:
        async with service.database.org_connection(row.org_id) as conn:
            await execute(conn, "api_keys.record_use", id=row.id)
    return row


async def _look_up(
    service: Service, prefix: str, requests: Sequence[None]
) -> list[ValidKey | None]:
    """Find the key of concurrent requests, all of which arrived before the statement."""
    async with service.key_connection(prefix) as conn:
        # Each request begins with this: one round trip instead of five.
        row = await fetch_last(
            conn, "api_keys.by_prefix", ValidKey, first="api_keys.restrict", prefix=prefix
        )
    return [row] * len(requests)
