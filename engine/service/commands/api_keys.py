"""Keys of users, for programs."""

from collections.abc import Sequence

import msgspec

from engine.errors import InvalidInput, UnknownName
from engine.model.api_key import ApiKey
from engine.model.states import KeyScope, Role
from engine.service.access_changes import record_change
from engine.service.caller import Caller, requires
from engine.service.members import user_named
from engine.service.service import Service
from engine.store.ids import new_id
from engine.store.rows.identity import KeyName
from engine.store.run import execute, fetch_one

_LONGEST_NAME = 100
_LONGEST_SECONDS = 10 * 366 * 86_400


class CreatedKey(msgspec.Struct, frozen=True):
    """A new key; ``key`` is not stored, and cannot be shown again."""

    key: str
    prefix: str


@requires(Role.ADMIN)
async def create_key(
    caller: Caller,
    service: Service,
    user: str,
    name: str,
    scopes: Sequence[KeyScope],
    *,
    seconds: float | None = None,
) -> CreatedKey:
    """Create a key that acts for a user, valid for some seconds; None: until it is revoked.

    Raises UnknownName, InvalidInput.
    """
    if not scopes:
        raise InvalidInput(f"give a key at least one scope of {', '.join(KeyScope)}")
    if not name or len(name) > _LONGEST_NAME or not name.isprintable():
        raise InvalidInput(f"the name of a key has 1 to {_LONGEST_NAME} printable characters")
    if seconds is not None and not 0 < seconds <= _LONGEST_SECONDS:
        raise InvalidInput("a key expires after at most ten years, or never")
    key, distinct = ApiKey.generate(), sorted(set(scopes))
    async with service.transaction(caller) as (conn, org):
        row = await user_named(conn, org, user)
        await execute(
            conn,
            "api_keys.insert",
            id=new_id(),
            org_id=org.id,
            user_id=row.id,
            name=name,
            prefix=key.prefix,
            hash=key.hash,
            scopes=distinct,
            created_by=caller.user,
            seconds=seconds,
        )
        created = {"user": row.email, "name": name, "scopes": distinct}
        await record_change(conn, caller, "key.created", key.prefix, after=created)
    return CreatedKey(key.text, key.prefix)


@requires(Role.ADMIN, operator=True)
async def extend_key(caller: Caller, service: Service, prefix: str, seconds: float) -> str:
    """Let a key be valid for some seconds from now, and return its name. Raises UnknownName.

    Reserved for operators, because no change is recorded: a process renews a key of its own.
    """
    async with service.transaction(caller) as (conn, org):
        row = await fetch_one(
            conn, "api_keys.extend", KeyName, org_id=org.id, prefix=prefix, seconds=seconds
        )
    if row is None:
        raise UnknownName(f"there is no key {prefix!r} to be extended: it was revoked")
    return row.name


@requires(Role.ADMIN)
async def revoke_key(caller: Caller, service: Service, prefix: str) -> str:
    """Revoke a key at once, and return its name. Raises UnknownName if there is no such key."""
    async with service.transaction(caller) as (conn, org):
        row = await fetch_one(conn, "api_keys.revoke", KeyName, org_id=org.id, prefix=prefix)
        if row is None:
            raise UnknownName(
                f"there is no key {prefix!r} to be revoked: 'knockon keys' lists the prefixes"
            )
        await record_change(conn, caller, "key.revoked", prefix, before={"name": row.name})
        return row.name
