"""Bearer tokens of an identity provider, over real HTTP."""

import asyncio
import time
from collections.abc import AsyncIterator
from typing import Any

import pytest
from fastapi.responses import JSONResponse, RedirectResponse, Response
from joserfc.jwk import RSAKey

from engine.model.states import Role
from engine.oidc.cache import ATTEMPT_SECONDS
from engine.service.commands.org_roles import add_org_role, grant_org_role, revoke_org_role
from engine.service.commands.orgs import set_admission
from engine.service.commands.users import add_user, remove_user, set_user_role
from engine.service.queries.identity import users
from tests.integration.http.conftest import key_for
from tests.integration.http.sign_in import SignIn, admit, open_to_groups, signing_in
from tests.integration.http.test_problems import problem_of
from tests.support.identity_provider import (
    DISCOVERY,
    JWKS,
    IdentityProviderServer,
    identity_provider,
    sign,
)
from tests.support.worlds import World


@pytest.fixture
async def provider() -> AsyncIterator[IdentityProviderServer]:
    async with identity_provider() as provider:
        yield provider


@pytest.fixture
async def sign_in(
    worlds: tuple[World, World], provider: IdentityProviderServer
) -> AsyncIterator[SignIn]:
    async with signing_in(worlds, provider) as sign_in:
        await open_to_groups(sign_in)
        yield sign_in


async def test_a_person_is_added_with_the_role_of_the_groups(sign_in: SignIn) -> None:
    token = sign_in.provider.token(groups=["readers", "leads", "others"])
    (me,) = {(await sign_in.me(token, "default")).text for _ in range(3)}
    assert '"user":"ann@example.com"' in me
    assert '"role":"admin"' in me
    assert (await sign_in.me(token)).json()["org"] == "default"  # the only org of the person
    assert await sign_in.changes() == [("user.added", "ann@example.com", None, {"role": "admin"})]
    world = sign_in.site.world
    (added,) = [row for row in await users(world.caller, world.service) if row.email[:3] == "ann"]
    assert added.external_id == f"{world.org.id}:{sign_in.provider.issuer}#ann"


async def test_requests_at_once_add_a_person_once(sign_in: SignIn) -> None:
    token = sign_in.provider.token(groups=["readers"])
    answers = await asyncio.gather(*(sign_in.me(token, "default") for _ in range(8)))
    assert {answer.status_code for answer in answers} == {200}
    assert len(await sign_in.changes()) == 1


async def test_an_org_is_open_to_nobody_until_its_admin_configures_it(sign_in: SignIn) -> None:
    token = sign_in.provider.token(groups=["leads"])
    unknown = await sign_in.me(token, "nothing")
    problem_of(unknown, 403, "forbidden")
    other = sign_in.site.other
    assert (await sign_in.me(token, "other")).text == unknown.text  # no terms of admission
    await admit(other, sign_in.provider.issuer, roles={"leads": Role.ADMIN})
    assert (await sign_in.me(token, "other")).text == unknown.text  # adds nobody
    await admit(other, "https://another.example.com", creates_users=True, default_role=Role.READER)
    assert (await sign_in.me(token, "other")).text == unknown.text  # another issuer
    await admit(other, sign_in.provider.issuer, creates_users=True, roles={"x": Role.READER})
    assert (await sign_in.me(token, "other")).text == unknown.text  # none of the groups
    assert (await sign_in.me(token)).text == unknown.text  # in no org so far
    for slug in ("", "x" * 5_000, "a\x85b", "default'--"):
        async with sign_in.client(token) as client:
            named = await client.get("/me", headers={b"knockon-org": slug.encode("latin-1")})
            assert named.text == unknown.text
    assert await sign_in.changes("other.admin") == []
    await admit(other, sign_in.provider.issuer, creates_users=True, default_role=Role.READER)
    assert (await sign_in.me(token, "other")).json()["role"] == "reader"


async def test_an_admin_of_one_org_is_nobody_in_another(sign_in: SignIn) -> None:
    token = sign_in.provider.token(groups=["leads"])
    assert (await sign_in.me(token, "default")).json()["role"] == "admin"
    async with sign_in.client(token, "default") as client:
        terms = {
            "issuer": sign_in.provider.issuer,
            "creates_users": True,
            "default_role": "admin",
        }
        assert (await client.post("/org/admission", json=terms)).status_code == 200
        # A subject cannot name another org, or another issuer.
        for issuer in (f"{sign_in.site.other.org.id}:{sign_in.provider.issuer}", "local"):
            body = {"email": "e@example.com", "role": "admin", "issuer": issuer, "subject": "ann"}
            assert (await client.post("/users", json=body)).status_code == 201
    problem_of(await sign_in.me(token, "other"), 403, "forbidden")


async def test_a_person_in_two_orgs_names_one(sign_in: SignIn) -> None:
    await admit(
        sign_in.site.other, sign_in.provider.issuer, creates_users=True, default_role=Role.READER
    )
    token = sign_in.provider.token(groups=["leads"])
    for slug, role in (("default", "admin"), ("other", "reader")):
        me = (await sign_in.me(token, slug)).json()
        assert (me["org"], me["role"]) == (slug, role)
    problem_of(await sign_in.me(token), 403, "forbidden")


async def test_a_user_added_by_an_admin_needs_no_group(sign_in: SignIn) -> None:
    world, issuer = sign_in.site.world, sign_in.provider.issuer
    await add_user(
        world.caller, world.service, "b@example.com", Role.WRITER, issuer=issuer, subject="ben"
    )
    token = sign_in.provider.token("ben", email=None, groups=["leads"])
    assert (await sign_in.me(token)).json()["role"] == "writer"  # granted manually
    await set_admission(world.caller, world.service, None)
    problem_of(await sign_in.me(token), 403, "forbidden")


async def test_an_address_that_is_not_verified_or_taken_adds_nobody(sign_in: SignIn) -> None:
    for claims in (
        {"email": None},
        {"email_verified": False},
        {"email": "Admin@Example.com"},  # a local user
    ):
        token = sign_in.provider.token(groups=["leads"], **claims)
        problem_of(await sign_in.me(token, "default"), 403, "forbidden")
    assert await sign_in.changes() == []


@pytest.mark.parametrize(
    "claims",
    [
        {"iss": "http://127.0.0.1:1/realms/acme"},
        {"aud": "another"},
        {"aud": None},
        {"sub": None},
        {"exp": time.time() - 10_000},
        {"nbf": time.time() + 10_000},
        {"iat": time.time() + 10_000},
    ],
    ids=lambda claims: next(iter(claims)),
)
async def test_tokens_that_do_not_suit_are_refused(sign_in: SignIn, claims: dict[str, Any]) -> None:
    response = await sign_in.me(sign_in.provider.token(groups=["leads"], **claims), "default")
    problem_of(response, 401, "unauthenticated")
    assert response.headers["www-authenticate"] == "Bearer"
    assert await sign_in.changes() == []


async def test_a_rotated_key_is_found_and_the_old_one_refused(sign_in: SignIn) -> None:
    old = sign_in.provider.token(groups=["leads"])
    assert (await sign_in.me(old, "default")).status_code == 200
    sign_in.provider.rotate("ES256")
    sign_in.clock.shift += ATTEMPT_SECONDS
    new = sign_in.provider.token(groups=["leads"])
    assert (await sign_in.me(new, "default")).status_code == 200
    problem_of(await sign_in.me(old, "default"), 401, "unauthenticated")


async def test_a_flood_of_unknown_keys_causes_few_fetches(sign_in: SignIn) -> None:
    good = sign_in.provider.token(groups=["leads"])
    assert (await sign_in.me(good, "default")).status_code == 200
    tokens = [sign_in.provider.token(header={"kid": f"k{number}"}) for number in range(30)]
    answers = await asyncio.gather(*(sign_in.me(token, "default") for token in tokens))
    assert {answer.status_code for answer in answers} == {401}
    assert sign_in.provider.fetches() == 1
    sign_in.clock.shift += ATTEMPT_SECONDS
    await asyncio.gather(*(sign_in.me(token, "default") for token in tokens))
    assert sign_in.provider.fetches() == 2
    assert (await sign_in.me(good, "default")).status_code == 200


async def test_an_outage_is_no_error_of_the_service(sign_in: SignIn) -> None:
    sign_in.provider.is_down = True
    token = sign_in.provider.token(groups=["leads"])
    response = await sign_in.me(token, "default")
    problem_of(response, 503, "service_unavailable")
    assert sign_in.provider.url not in response.text
    assert (await sign_in.site.get("/me"))["role"] == "admin"  # keys need no provider
    sign_in.provider.is_down = False
    sign_in.clock.shift += ATTEMPT_SECONDS
    assert (await sign_in.me(token, "default")).status_code == 200
    sign_in.provider.is_down = True
    sign_in.clock.shift += 7_200
    assert (await sign_in.me(token, "default")).status_code == 200  # with the known key
    unknown = sign_in.provider.token(header={"kid": "new"})
    problem_of(await sign_in.me(unknown, "default"), 503, "service_unavailable")


@pytest.mark.parametrize(
    ("path", "response"),
    [
        (JWKS, Response(b'{"keys": [' + b" " * 2_000_000 + b"]}")),
        (JWKS, Response(b"[" * 100_000)),
        (JWKS, Response(b"not JSON")),
        (JWKS, RedirectResponse("http://127.0.0.1:1/keys")),
        (DISCOVERY, JSONResponse({"issuer": "https://evil.example.com"})),
        (DISCOVERY, JSONResponse({"keys": []}, 404)),
        (DISCOVERY, JSONResponse([])),
    ],
    ids=["huge", "deep", "text", "redirect", "issuer", "missing", "list"],
)
async def test_a_bad_answer_of_the_provider_is_an_outage(
    sign_in: SignIn, path: str, response: Response
) -> None:
    sign_in.provider.override[path] = response
    token = sign_in.provider.token(groups=["leads"])
    problem_of(await sign_in.me(token, "default"), 503, "service_unavailable")


async def test_keys_that_cannot_verify_signatures_are_ignored(sign_in: SignIn) -> None:
    provider = sign_in.provider
    good = provider.keys[provider.key_id].as_dict(private=False)
    weak = {"kty": "RSA", "kid": "weak", "e": "AQAB", "n": "x" * 171}
    others = [
        {"kty": "oct", "kid": "secret", "k": "c2VjcmV0"},
        {**good, "kid": "encryption", "use": "enc"},
        {"kty": "EC", "kid": "bad", "crv": "P-256", "x": "AA", "y": "AA"},
        {"kty": "EC", "kid": "worse", "crv": 1},
        {**good, "kid": None},
        "text",
        None,
        weak,
    ]
    provider.override[JWKS] = JSONResponse({"keys": [*others, good]})
    assert (await sign_in.me(provider.token(groups=["leads"]), "default")).status_code == 200
    for kid in ("secret", "encryption", "bad", "worse", "weak"):
        token = provider.token(groups=["leads"], header={"kid": kid})
        problem_of(await sign_in.me(token, "default"), 401, "unauthenticated")


async def test_addresses_of_keys_in_a_token_are_not_fetched(sign_in: SignIn) -> None:
    provider = sign_in.provider
    evil = RSAKey.generate_key(2048)
    header = {
        "alg": "RS256",
        "kid": provider.key_id,
        "jku": f"{provider.url}/evil/keys",
        "x5u": f"{provider.url}/evil/certificate",
        "jwk": evil.as_dict(private=False),
    }
    token = sign(header, provider.claims(groups=["leads"]), evil)
    problem_of(await sign_in.me(token, "default"), 401, "unauthenticated")
    assert not [path for path in provider.requests if "evil" in path]


async def test_groups_are_applied_once_for_each_newer_token(sign_in: SignIn) -> None:
    world, provider, now = sign_in.site.world, sign_in.provider, int(time.time())
    for slug in ("finance", "audit"):
        await add_org_role(world.caller, world.service, slug)
    older = provider.token(groups=["leads", "money"], iat=now - 50)
    assert (await sign_in.me(older, "default")).json()["role"] == "admin"
    await grant_org_role(world.caller, world.service, "audit", "ann@example.com")
    newer = provider.token(groups=["readers"], iat=now - 40)
    assert (await sign_in.me(newer)).json()["role"] == "reader"
    assert (await sign_in.me(older)).json()["role"] == "reader"  # nothing returns with an old token
    assert await roles_of(world) == ["audit"]  # granted manually, and kept
    assert await sign_in.changes() == [
        ("role.revoked", "finance", {"user": "ann@example.com"}, None),
        ("user.role_changed", "ann@example.com", {"role": "admin"}, {"role": "reader"}),
        ("role.granted", "finance", None, {"user": "ann@example.com"}),
        ("user.added", "ann@example.com", None, {"role": "admin"}),
    ]


async def roles_of(world: World) -> list[str]:
    rows = await users(world.caller, world.service)
    return next(row.org_roles for row in rows if row.email == "ann@example.com")


async def test_a_manual_membership_outlives_the_group(sign_in: SignIn) -> None:
    world, provider, now = sign_in.site.world, sign_in.provider, int(time.time())
    await add_org_role(world.caller, world.service, "finance")
    await sign_in.me(provider.token(groups=["leads", "money"], iat=now - 50), "default")
    assert await roles_of(world) == ["finance"]
    assert await grant_org_role(world.caller, world.service, "finance", "ann@example.com")
    await sign_in.me(provider.token(groups=["leads"], iat=now - 40))
    assert await roles_of(world) == ["finance"]
    await revoke_org_role(world.caller, world.service, "finance", "ann@example.com")
    assert await roles_of(world) == []


async def test_a_person_without_groups_is_suspended_with_all_keys(sign_in: SignIn) -> None:
    world, provider, now = sign_in.site.world, sign_in.provider, int(time.time())
    await sign_in.me(provider.token(groups=["leads"], iat=now - 50), "default")
    key = await key_for(world, "ann@example.com")
    without = provider.token(groups=None, iat=now - 40)
    problem_of(await sign_in.me(without), 403, "forbidden")
    async with sign_in.site.client_of(key) as client:
        problem_of(await client.get("/me"), 401, "unauthenticated")
    problem_of(await sign_in.me(without), 403, "forbidden")
    again = provider.token(groups=["leads"], iat=now - 30)
    assert (await sign_in.me(again)).json()["role"] == "admin"
    async with sign_in.site.client_of(key) as client:
        assert (await client.get("/me")).status_code == 200
    assert [(*change[:1], *change[2:]) for change in await sign_in.changes()] == [
        ("user.role_changed", {"role": None}, {"role": "admin"}),
        ("user.role_changed", {"role": "admin"}, {"role": None}),
        ("user.added", None, {"role": "admin"}),
    ]


async def test_a_role_given_by_an_admin_stays(sign_in: SignIn) -> None:
    world, provider, now = sign_in.site.world, sign_in.provider, int(time.time())
    await sign_in.me(provider.token(groups=["leads"], iat=now - 50), "default")
    await set_user_role(world.caller, world.service, "ann@example.com", Role.WRITER)
    for groups in (["leads"], []):
        now += 1
        token = provider.token(groups=groups, iat=now - 40)
        assert (await sign_in.me(token)).json()["role"] == "writer"


async def test_a_removed_user_stays_out_until_an_admin_adds_the_person(sign_in: SignIn) -> None:
    world, provider = sign_in.site.world, sign_in.provider
    token = provider.token(groups=["leads"])
    await sign_in.me(token, "default")
    await remove_user(world.caller, world.service, "ann@example.com")
    for _ in range(2):
        problem_of(await sign_in.me(token, "default"), 403, "forbidden")
    await add_user(
        world.caller,
        world.service,
        "ann@example.com",
        Role.READER,
        issuer=provider.issuer,
        subject="ann",
    )
    assert (await sign_in.me(token)).json()["role"] == "reader"


async def test_terms_of_admission_are_checked_and_recorded(sign_in: SignIn) -> None:
    terms = (await sign_in.site.get("/org/admission"))["admission"]
    assert terms["org_roles"] == {"money": ["finance"]}
    async with sign_in.site.client("reader") as client:
        problem_of(await client.get("/org/admission"), 403, "forbidden")
    async with sign_in.site.client() as client:
        for body in ({"issuer": ""}, {"issuer": "x", "roles": {"": "admin"}}, {"roles": {}}):
            response = await client.post("/org/admission", json=body)
            problem_of(response, 422, "invalid_input")
        assert (await client.post("/org/admission", json={"issuer": None})).json() == {
            "admission": None
        }
    (newest, *_) = (await sign_in.site.get("/access-changes"))["items"]
    assert (newest["subject"], newest["before"]["admission"]) == ("admission", terms)
    assert newest["after"] == {"admission": None}


async def test_a_service_without_a_provider_accepts_no_tokens(
    worlds: tuple[World, World], provider: IdentityProviderServer, site: Any
) -> None:
    async with site.client_of(provider.token()) as client:
        problem_of(await client.get("/me"), 401, "unauthenticated")
        problem_of(await client.get("/login"), 404, "login_not_configured")
