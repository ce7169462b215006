"""Login in a browser, sessions and logout, against a provider over real HTTP."""

from collections.abc import AsyncIterator
from time import time
from typing import Any
from urllib.parse import urlencode

import pytest

from engine.flow.retention.expire import expire
from engine.model.states import KeyScope, Role
from engine.service.commands.users import remove_user, set_user_role
from tests.integration.http.conftest import key_for
from tests.integration.http.sign_in import (
    LOGIN,
    PUBLIC,
    SAME_ORIGIN,
    SESSION,
    Browser,
    SignIn,
    admit,
    open_to_groups,
    query_of,
    signing_in,
)
from tests.integration.http.test_problems import problem_of
from tests.support.identity_provider import IdentityProviderServer, identity_provider
from tests.support.worlds import World

LEAD = {"groups": ["leads"]}


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


@pytest.fixture
async def browser(sign_in: SignIn) -> Browser:
    """A browser in which a lead is logged in."""
    browser = sign_in.browser()
    await browser.log_in("ann", **LEAD)
    return browser


async def test_a_login_starts_a_session_with_all_rights_of_the_user(sign_in: SignIn) -> None:
    browser = sign_in.browser()
    problem_of(await browser.me(), 401, "unauthenticated")
    location = await browser.begin(org="default", redirect_to="/runs?day=1#top")
    query = query_of(location)
    assert query["redirect_uri"] == f"{PUBLIC}/api/v1/login/callback"
    assert min(len(query[name]) for name in ("state", "nonce", "code_challenge")) >= 43
    assert browser.cookies.keys() == {LOGIN}
    sign_in.provider.person = {"sub": "ann", "email": "ann@example.com", **LEAD}
    response = await browser.request("GET", await browser.authorize(location))
    assert (response.status_code, response.headers["location"]) == (
        303,
        f"{PUBLIC}/runs?day=1#top",
    )
    assert browser.cookies.keys() == {SESSION}
    me = (await browser.me()).json()
    assert (me["org"], me["user"], me["role"]) == ("default", "ann@example.com", "admin")
    assert me["scopes"] == ["api", "ingest", "read", "worker"]


async def test_the_secret_of_a_session_is_stored_as_a_hash_only(browser: Browser) -> None:
    (row,) = await browser.sign_in.site.world.rows("SELECT s::text AS text, hash FROM sessions s")
    assert len(row["hash"]) == 32
    assert browser.cookies[SESSION] not in row["text"]


async def test_a_change_of_the_role_counts_at_once(browser: Browser) -> None:
    world = browser.sign_in.site.world
    await set_user_role(world.caller, world.service, "ann@example.com", Role.READER)
    assert (await browser.me()).json()["role"] == "reader"
    await remove_user(world.caller, world.service, "ann@example.com")
    problem_of(await browser.me(), 401, "unauthenticated")
    problem_of(await browser.attempt("ann", **LEAD), 403, "forbidden")


async def test_changes_need_a_page_of_the_same_origin(browser: Browser) -> None:
    path, body = "/api/v1/pauses", {"kind": "org"}
    for headers in (
        {},
        {"origin": "https://evil.test"},
        {"origin": "null"},
        {"sec-fetch-site": "cross-site"},
        {"sec-fetch-site": "same-site", "origin": PUBLIC},
    ):
        response = await browser.request("POST", path, json=body, headers=headers)
        problem_of(response, 403, "forbidden")
    assert (await browser.request("POST", path, json=body, headers=SAME_ORIGIN)).status_code == 200
    response = await browser.request(
        "POST",
        "/api/v1/pauses/resume",
        content="kind=org",
        headers={"content-type": "application/x-www-form-urlencoded", "origin": PUBLIC},
    )
    problem_of(response, 422, "invalid_input")  # a form, as pages of other sites can send it


async def test_a_key_takes_precedence_over_the_cookie(browser: Browser) -> None:
    key = browser.sign_in.site.keys["reader"]
    headers = {"authorization": f"Bearer {key}"}
    response = await browser.request("GET", "/api/v1/me", headers=headers)
    assert response.json()["role"] == "reader"
    response = await browser.request("POST", "/api/v1/logout", headers=headers)
    problem_of(response, 422, "invalid_input")
    # The secret of a session is no bearer token.
    headers = {"authorization": f"Bearer {browser.cookies[SESSION]}"}
    response = await browser.request("GET", "/api/v1/me", headers=headers)
    problem_of(response, 401, "unauthenticated")


async def test_logout_ends_the_session(browser: Browser) -> None:
    stolen = dict(browser.cookies)
    problem_of(await browser.request("POST", "/api/v1/logout"), 403, "forbidden")
    response = await browser.request("POST", "/api/v1/logout", headers=SAME_ORIGIN)
    assert (response.status_code, response.json()) == (200, {"ended": 1})
    assert browser.cookies == {}
    browser.cookies = stolen
    problem_of(await browser.me(), 401, "unauthenticated")


async def test_a_user_lists_and_ends_the_own_sessions_only(browser: Browser) -> None:
    second, ben = browser.sign_in.browser(), browser.sign_in.browser()
    await second.log_in("ann", **LEAD)
    await ben.log_in("ben", groups=["readers"])
    listed = (await browser.request("GET", "/api/v1/sessions")).json()["items"]
    (of_ben,) = (await ben.request("GET", "/api/v1/sessions")).json()["items"]
    assert len(listed) == 2
    assert "hash" not in listed[0]
    path = f"/api/v1/sessions/{of_ben['id']}"
    problem_of(await browser.request("DELETE", path, headers=SAME_ORIGIN), 404, "unknown_name")
    path = f"/api/v1/sessions/{listed[0]['id']}"  # the newest
    assert (await browser.request("DELETE", path, headers=SAME_ORIGIN)).status_code == 200
    problem_of(await second.me(), 401, "unauthenticated")
    await second.log_in("ann", **LEAD)
    response = await second.request("DELETE", "/api/v1/sessions", headers=SAME_ORIGIN)
    assert response.json() == {"ended": 2}
    for each in (browser, second):
        problem_of(await each.me(), 401, "unauthenticated")
    assert (await ben.me()).json()["role"] == "reader"


async def test_a_read_key_ends_no_sessions(browser: Browser) -> None:
    site = browser.sign_in.site
    key = await key_for(site.world, "ann@example.com", KeyScope.READ)
    async with site.client_of(key) as client:
        assert len((await client.get("/sessions")).json()["items"]) == 1
        problem_of(await client.delete("/sessions"), 403, "forbidden")
    assert (await browser.me()).status_code == 200


async def test_an_expired_session_ends_and_is_removed(browser: Browser) -> None:
    world = browser.sign_in.site.world
    await world.rows("UPDATE sessions SET ends_at = now() - interval '1 s' RETURNING id")
    problem_of(await browser.me(), 401, "unauthenticated")
    async with world.database.connection() as conn:
        await expire(conn, 365, 90, 7, 30)
    assert await world.rows("SELECT id FROM sessions") == []


async def test_use_keeps_a_session_up_to_its_longest_duration(browser: Browser) -> None:
    world = browser.sign_in.site.world
    await world.rows(
        "UPDATE sessions SET last_used_at = now() - interval '50 min', "
        "ends_at = now() + interval '10 min', expires_at = now() + interval '30 min' RETURNING id"
    )
    assert (await browser.me()).status_code == 200
    (row,) = await world.rows(
        "SELECT ends_at = expires_at AS is_last, "
        "last_used_at > now() - interval '1 min' AS is_used FROM sessions"
    )
    assert (row["is_last"], row["is_used"]) == (True, True)


async def test_a_login_never_continues_a_session(browser: Browser) -> None:
    earlier = browser.cookies[SESSION]
    await browser.log_in("ann", **LEAD)
    assert browser.cookies[SESSION] != earlier
    victim = browser.sign_in.browser()
    for planted in (earlier, "ks_" + "x" * 43, "x"):
        victim.cookies[SESSION] = planted
        problem_of(await victim.me(), 401, "unauthenticated")
        await victim.log_in("ben", groups=["readers"])
        assert victim.cookies[SESSION] != planted
        attacker = browser.sign_in.browser()
        attacker.cookies[SESSION] = planted
        problem_of(await attacker.me(), 401, "unauthenticated")


async def test_a_callback_is_accepted_by_the_browser_of_the_login_only(sign_in: SignIn) -> None:
    attacker, victim = sign_in.browser(), sign_in.browser()
    sign_in.provider.person = {"sub": "eve", "email": "eve@example.com", **LEAD}
    path = await attacker.authorize(await attacker.begin(org="default"))
    problem_of(await victim.request("GET", path), 400, "login_failed")  # has begun none
    await victim.begin(org="default")
    problem_of(await victim.request("GET", path), 400, "login_failed")  # has begun another
    assert SESSION not in victim.cookies
    assert (await attacker.request("GET", path)).status_code == 303


async def test_a_code_is_redeemed_once(sign_in: SignIn) -> None:
    browser = sign_in.browser()
    sign_in.provider.person = {"sub": "ann", "email": "ann@example.com", **LEAD}
    path = await browser.authorize(await browser.begin(org="default"))
    kept = dict(browser.cookies)
    assert (await browser.request("GET", path)).status_code == 303
    problem_of(await browser.request("GET", path), 400, "login_failed")  # the login has ended
    browser.cookies = kept
    problem_of(await browser.request("GET", path), 401, "unauthenticated")


async def test_a_code_needs_the_verifier_of_its_login(sign_in: SignIn) -> None:
    """A code that was intercepted is of no use in another login."""
    victim, attacker = sign_in.browser(), sign_in.browser()
    sign_in.provider.person = {"sub": "ann", "email": "ann@example.com", **LEAD}
    stolen = query_of(await victim.authorize(await victim.begin(org="default")))["code"]
    own = query_of(await attacker.begin(org="default"))["state"]
    path = f"/api/v1/login/callback?{urlencode({'code': stolen, 'state': own})}"
    problem_of(await attacker.request("GET", path), 401, "unauthenticated")


@pytest.mark.parametrize(
    "claims",
    [
        {"nonce": "of another login"},
        {"aud": "knockon-api"},
        {"azp": "another-client"},
        {"sub": ""},
        {"exp": 1_000_000_000},
        {"iss": "https://evil.example.com"},
    ],
    ids=lambda claims: next(iter(claims)),
)
async def test_an_id_token_of_another_login_is_refused(
    sign_in: SignIn, claims: dict[str, Any]
) -> None:
    response = await sign_in.browser().attempt("ann", **{**LEAD, **claims})
    problem_of(response, 401, "unauthenticated")


async def test_refusals_of_the_provider_start_no_session(sign_in: SignIn) -> None:
    browser = sign_in.browser()
    state = query_of(await browser.begin(org="default"))["state"]
    for query in (
        {"error": "access_denied", "error_description": "<script>", "state": state},
        {"state": state},
        {"code": "x"},
        {"code": "x", "state": "é"},
        {},
    ):
        response = await browser.request("GET", f"/api/v1/login/callback?{urlencode(query)}")
        problem_of(response, 400, "login_failed")
        assert "script" not in response.text
    assert SESSION not in browser.cookies
    for value in ("", "x", "eyJhIjoxfQ", "é".encode().hex()):
        browser.cookies[LOGIN] = value
        response = await browser.request("GET", f"/api/v1/login/callback?code=x&state={state}")
        problem_of(response, 400, "login_failed")


async def test_an_outage_of_the_provider_is_no_error_of_the_service(sign_in: SignIn) -> None:
    browser = sign_in.browser()
    path = await browser.authorize(await browser.begin(org="default"))
    sign_in.provider.is_down = True
    problem_of(await browser.request("GET", path), 503, "service_unavailable")


@pytest.mark.parametrize(
    "path",
    ["//evil.test", "/\\evil.test", "https://evil.test", "/\r\nset-cookie: a=b", "/\t/evil.test"],
)
async def test_a_login_redirects_to_the_site_only(sign_in: SignIn, path: str) -> None:
    browser = sign_in.browser()
    query = urlencode({"redirect_to": path})
    response = await browser.request("GET", f"/api/v1/login?{query}")
    problem_of(response, 422, "invalid_input")
    assert browser.cookies == {}


async def test_a_session_is_of_one_org(browser: Browser) -> None:
    sign_in = browser.sign_in
    other = sign_in.browser()
    problem_of(await other.attempt("ann", "other", **LEAD), 403, "forbidden")
    await admit(
        sign_in.site.other, sign_in.provider.issuer, creates_users=True, default_role=Role.READER
    )
    await other.log_in("ann", "other", **LEAD)
    for each, org in ((browser, "default"), (other, "other")):
        for headers in ({}, {"Knockon-Org": "default"}, {"Knockon-Org": "other"}):
            me = await each.request("GET", "/api/v1/me", headers=headers)
            assert me.json()["org"] == org
    # The person is now a user of two orgs, and has to name one.
    problem_of(await sign_in.browser().attempt("ann", None, **LEAD), 403, "forbidden")
    unknown = await sign_in.browser().attempt("ann", "nothing", **LEAD)
    problem_of(unknown, 403, "forbidden")


async def test_new_terms_of_admission_end_sessions(browser: Browser) -> None:
    await admit(browser.sign_in.site.world, "https://another.example.com")
    problem_of(await browser.me(), 401, "unauthenticated")


async def test_lost_groups_end_access_at_the_next_login(browser: Browser) -> None:
    later = int(time()) + 5  # groups of a token are applied if it was issued later
    refused = await browser.attempt("ann", "default", groups=[], iat=later)
    problem_of(refused, 403, "forbidden")
    problem_of(await browser.me(), 401, "unauthenticated")
