"""Users, roles and keys of an org, and the callers for whom keys act."""

from collections.abc import Awaitable, Callable, Sequence
from datetime import timedelta

import msgspec
import pytest

from engine.cli.runtime import http
from engine.cli.runtime.session import Session
from engine.errors import Forbidden, InvalidInput, Unauthenticated, UnknownName
from engine.flow.shared.org_context import OrgContext
from engine.model.api_key import ApiKey
from engine.model.states import KeyScope, Role
from engine.service.authentication import authenticate
from engine.service.caller import Caller
from engine.service.commands.api_keys import create_key, extend_key, revoke_key
from engine.service.commands.org_roles import (
    add_org_role,
    grant_org_role,
    remove_org_role,
    revoke_org_role,
)
from engine.service.commands.orgs import set_blast_radius
from engine.service.commands.users import add_user, remove_user, set_user_role
from engine.service.queries.identity import access_changes, api_keys, org_roles, users
from engine.service.queries.status import status
from engine.settings import Settings
from engine.store.database import Database
from engine.store.orgs import ensure_org
from tests.support.migrations import until
from tests.support.worlds import World, job, source

ANN, BEN = "ann@example.com", "ben@example.com"


@pytest.fixture
async def world(database: Database) -> World:
    world = await World.made(database, source("a"), job("b", "a"))
    await add_user(world.caller, world.service, ANN, Role.WRITER)
    return world


async def other_org(world: World) -> World:
    async with world.database.connection() as conn:
        return World(world.database, OrgContext(await ensure_org(conn, "other")))


async def key_of(
    world: World, *scopes: KeyScope, user: str = ANN, seconds: float | None = None
) -> str:
    created = await create_key(
        world.caller, world.service, user, "ci", scopes or (KeyScope.API,), seconds=seconds
    )
    return created.key


async def test_users_are_added_once_and_changed(world: World) -> None:
    with pytest.raises(InvalidInput, match="is a user already"):
        await add_user(world.caller, world.service, ANN, Role.ADMIN)
    changed = await set_user_role(world.caller, world.service, ANN, Role.READER)
    assert changed.role == Role.READER
    (user,) = await users(world.caller, world.service)
    assert (user.email, user.role, user.org_roles) == (ANN, Role.READER, [])
    assert user.external_id == f"{world.org.id}:local#{ANN}"
    await remove_user(world.caller, world.service, ANN)
    assert await users(world.caller, world.service) == []
    with pytest.raises(UnknownName, match="no user"):
        await remove_user(world.caller, world.service, ANN)


async def test_a_person_is_identified_by_issuer_and_subject(world: World) -> None:
    for issuer in ("https://one.example", "https://two.example"):
        await add_user(world.caller, world.service, BEN, Role.READER, issuer=issuer, subject="7")
    with pytest.raises(InvalidInput, match="several users") as error:
        await set_user_role(world.caller, world.service, BEN, Role.WRITER)
    id_ = f"{world.org.id}:https://two.example#7"
    assert id_ in str(error.value)
    assert (await set_user_role(world.caller, world.service, id_, Role.WRITER)).email == BEN
    with pytest.raises(InvalidInput, match="give both, or none"):
        await add_user(world.caller, world.service, BEN, Role.READER, subject="7")


@pytest.mark.parametrize("email", ["", "ann", "a b@c", "a@b\x1b[31m", "@b", "a@" + "b" * 256])
async def test_other_texts_are_no_addresses(world: World, email: str) -> None:
    with pytest.raises(InvalidInput, match="not an e-mail address"):
        await add_user(world.caller, world.service, email, Role.READER)


async def test_a_person_may_be_a_user_of_several_orgs(world: World) -> None:
    other = await other_org(world)
    await add_user(other.caller, other.service, ANN, Role.ADMIN)
    await remove_user(other.caller, other.service, ANN)
    assert [user.email for user in await users(world.caller, world.service)] == [ANN]


async def test_roles_have_members(world: World) -> None:
    await add_org_role(world.caller, world.service, "finance", "Finance")
    with pytest.raises(InvalidInput, match="already"):
        await add_org_role(world.caller, world.service, "finance")
    assert await grant_org_role(world.caller, world.service, "finance", ANN)
    assert not await grant_org_role(world.caller, world.service, "finance", ANN)
    (role,) = await org_roles(world.caller, world.service)
    assert (role.slug, role.name, role.members) == ("finance", "Finance", [ANN])
    assert [user.org_roles for user in await users(world.caller, world.service)] == [["finance"]]
    assert await revoke_org_role(world.caller, world.service, "finance", ANN)
    assert not await revoke_org_role(world.caller, world.service, "finance", ANN)
    await remove_org_role(world.caller, world.service, "finance")
    assert await org_roles(world.caller, world.service) == []


async def test_a_role_that_restricts_a_dataset_is_kept(world: World) -> None:
    await add_org_role(world.caller, world.service, "finance")
    await world.rows("UPDATE datasets SET read_roles = '{finance}' WHERE name = 'b' RETURNING id")
    with pytest.raises(InvalidInput, match="deploy b without it first"):
        await remove_org_role(world.caller, world.service, "finance")


@pytest.mark.parametrize("slug", ["", "Finance", "-a", "a b", "a" * 64])
async def test_other_texts_are_no_slugs(world: World, slug: str) -> None:
    with pytest.raises(InvalidInput, match="slug"):
        await add_org_role(world.caller, world.service, slug)


async def test_a_key_acts_for_its_user(world: World) -> None:
    key = await key_of(world, KeyScope.READ)
    caller = await authenticate(world.service, key, "http")
    assert (caller.org.id, caller.user, caller.role) == (world.org.id, ANN, Role.WRITER)
    assert (caller.scopes, caller.is_operator, caller.origin) == (
        {KeyScope.READ},
        False,
        "http",
    )
    assert (await status(caller, world.service)).dags
    await set_user_role(world.caller, world.service, ANN, Role.READER)
    assert (await authenticate(world.service, key, "http")).role is Role.READER


async def test_a_key_is_limited_by_the_role_of_its_user(world: World) -> None:
    caller = await authenticate(world.service, await key_of(world), "http")
    with pytest.raises(Forbidden, match="requires the role admin"):
        await users(caller, world.service)


async def test_only_the_hash_of_a_key_is_stored(world: World) -> None:
    key = await key_of(world)
    rows = await world.rows("SELECT k::text AS key FROM api_keys k")
    changes = await world.rows("SELECT c::text AS change FROM access_changes c")
    secret = key.split("_", 2)[2]
    assert not any(secret in str(row) for row in (*rows, *changes))


async def test_a_used_key_has_the_time_of_its_use(world: World) -> None:
    key = await key_of(world)
    assert [row.last_used_at for row in await api_keys(world.caller, world.service)] == [None]
    await authenticate(world.service, key, "http")
    (row,) = await api_keys(world.caller, world.service)
    assert row.last_used_at is not None


async def _revoked(world: World) -> str:
    key = await key_of(world)
    await revoke_key(world.caller, world.service, key.split("_")[1])
    return key


async def _expired(world: World) -> str:
    key = await key_of(world, seconds=60)
    await world.rows("UPDATE api_keys SET expires_at = now() - interval '1 second' RETURNING id")
    return key


async def _of_a_removed_user(world: World) -> str:
    key = await key_of(world)
    await remove_user(world.caller, world.service, ANN)
    return key


async def _with_another_secret(world: World) -> str:
    key = await key_of(world)
    return key[:-1] + ("a" if key[-1] != "a" else "b")


async def _unknown(_: World) -> str:
    return ApiKey.generate().text


@pytest.mark.parametrize(
    "invalid", [_revoked, _expired, _of_a_removed_user, _with_another_secret, _unknown]
)
async def test_invalid_keys_are_refused_with_the_same_message(
    world: World, invalid: Callable[[World], Awaitable[str]]
) -> None:
    with pytest.raises(Unauthenticated) as error:
        await authenticate(world.service, await invalid(world), "http")
    assert str(error.value).startswith("the key is unknown, has expired or was revoked: ")


async def test_a_valid_key_is_revoked_once(world: World) -> None:
    prefix = (await key_of(world)).split("_")[1]
    other = await other_org(world)
    with pytest.raises(UnknownName):
        await revoke_key(other.caller, other.service, prefix)
    assert await revoke_key(world.caller, world.service, prefix) == "ci"
    with pytest.raises(UnknownName):
        await revoke_key(world.caller, world.service, prefix)
    (row,) = await api_keys(world.caller, world.service)
    assert not row.is_valid


@pytest.mark.parametrize(
    ("scopes", "name", "seconds", "message"),
    [
        ((), "ci", None, "at least one scope"),
        ((KeyScope.API,), "", None, "name of a key"),
        ((KeyScope.API,), "a\x1b", None, "name of a key"),
        ((KeyScope.API,), "ci", 0, "at most ten years"),
        ((KeyScope.API,), "ci", 1e12, "at most ten years"),
        ((KeyScope.API,), "ci", float("nan"), "at most ten years"),
    ],
)
async def test_bad_keys_are_not_created(
    world: World, scopes: Sequence[KeyScope], name: str, seconds: float | None, message: str
) -> None:
    with pytest.raises(InvalidInput, match=message):
        await create_key(world.caller, world.service, ANN, name, scopes, seconds=seconds)


async def test_every_change_is_recorded_with_its_author(world: World) -> None:
    eve = _as(world.caller, "eve")
    await set_user_role(eve, world.service, ANN, Role.ADMIN)
    await set_user_role(eve, world.service, ANN, Role.ADMIN)  # no change
    await add_org_role(eve, world.service, "finance")
    await grant_org_role(eve, world.service, "finance", ANN)
    prefix = (await create_key(eve, world.service, ANN, "ci", [KeyScope.API])).prefix
    await revoke_key(eve, world.service, prefix)
    await set_blast_radius(eve, world.service, 7)
    await set_blast_radius(eve, world.service, 7)  # no change
    await remove_user(eve, world.service, ANN)
    rows = await access_changes(world.caller, world.service, limit=20)
    assert [(row.change, row.subject) for row in reversed(rows)] == [
        ("user.added", ANN),
        ("user.role_changed", ANN),
        ("role.added", "finance"),
        ("role.granted", "finance"),
        ("key.created", prefix),
        ("key.revoked", prefix),
        ("setting.changed", "blast_radius"),
        ("user.removed", ANN),
    ]
    assert {(row.actor, row.origin) for row in rows[:-1]} == {("eve", "command line")}
    changed = rows[-2]
    assert (changed.before, changed.after) == ({"role": "writer"}, {"role": "admin"})
    other = await other_org(world)
    assert await access_changes(other.caller, other.service) == []


def _as(caller: Caller, user: str) -> Caller:
    return msgspec.structs.replace(caller, user=user)


async def test_the_last_admin_stays(world: World) -> None:
    for name in (BEN, "eve@example.com"):
        await add_user(world.caller, world.service, name, Role.ADMIN)
    ben = await authenticate(world.service, await key_of(world, user=BEN), "test")
    await set_user_role(ben, world.service, BEN, Role.ADMIN)
    await remove_user(ben, world.service, "eve@example.com")
    for change in (
        remove_user(ben, world.service, BEN),
        set_user_role(ben, world.service, BEN, Role.WRITER),
    ):
        with pytest.raises(InvalidInput, match="is the last admin of the org"):
            await change
    await set_user_role(ben, world.service, ANN, Role.ADMIN)
    assert (await set_user_role(ben, world.service, BEN, Role.WRITER)).role == Role.WRITER
    # An operator can add another one.
    await remove_user(world.caller, world.service, ANN)


async def test_a_key_is_extended_by_an_operator_until_it_is_revoked(world: World) -> None:
    key = await key_of(world, seconds=60)
    prefix = key.split("_")[1]
    assert await extend_key(world.caller, world.service, prefix, 3_600) == "ci"
    (row,) = await api_keys(world.caller, world.service)
    assert row.expires_at is not None
    assert row.expires_at - row.created_at > timedelta(minutes=30)
    await revoke_key(world.caller, world.service, prefix)
    with pytest.raises(UnknownName, match="it was revoked"):
        await extend_key(world.caller, world.service, prefix, 3_600)


async def test_the_local_key_is_renewed_while_the_command_runs(
    world: World, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(http, "_RENEWAL_SECONDS", 0.01)
    session = Session(Settings(), world.service, world.caller.org)
    async with http.local_key(session) as local:
        await authenticate(world.service, local.key, "test")
        (first,) = await api_keys(world.caller, world.service)

        async def is_renewed() -> bool:
            (row,) = await api_keys(world.caller, world.service)
            return row.expires_at != first.expires_at

        await until(is_renewed)
    with pytest.raises(Unauthenticated):
        await authenticate(world.service, local.key, "test")
