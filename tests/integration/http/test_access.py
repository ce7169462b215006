"""Keys, roles, scopes and orgs."""

from collections.abc import Iterator
from typing import Any

import httpx2
import pytest

from engine.http.endpoints import endpoints
from engine.http.resource import Endpoint
from engine.model.states import KeyScope, Role
from engine.service.commands.api_keys import revoke_key
from engine.service.commands.users import set_user_role
from tests.integration.http.conftest import DAY, Site, key_for
from tests.integration.http.test_problems import problem_of

ENDPOINTS = [each for each in endpoints() if each.name != "stream_events"]


async def test_keys_that_are_not_valid_get_the_same_answer(site: Site) -> None:
    world = site.world
    user = "reader@example.com"
    revoked = await key_for(world, user)
    await revoke_key(world.caller, world.service, revoked.split("_")[1])
    expired = await key_for(world, user, seconds=60)
    await world.rows(
        "UPDATE api_keys SET expires_at = now() - interval '1 s' WHERE prefix = %s RETURNING id",
        expired.split("_")[1],
    )
    valid = site.keys["reader"]
    wrong_secret = valid[:-1] + ("A" if valid[-1] != "A" else "B")
    unknown = "kn_" + "0" * 12 + valid[15:]
    answers = []
    for key in (revoked, expired, wrong_secret, unknown):
        async with site.client_of(key) as client:
            answers.append(await client.get("/status"))
    assert len({(each.status_code, each.text) for each in answers}) == 1
    problem_of(answers[0], 401, "unauthenticated")
    assert answers[0].headers["www-authenticate"] == "Bearer"


@pytest.mark.parametrize("value", ["", "Bearer", "Basic a2V5", "Bearer kn_x", "kn_x", "Bearer a b"])
async def test_malformed_credentials_are_rejected(site: Site, value: str) -> None:
    async with httpx2.AsyncClient(base_url=site.url) as client:
        for path in ("/api/v1/status", "/api/v1/nothing", "/", "/metrics"):
            headers = {"Authorization": value} if value else {}
            response = await client.get(path, headers=headers)
            problem_of(response, 401, "unauthenticated")


async def test_two_credentials_are_rejected(site: Site) -> None:
    value = f"Bearer {site.keys['admin']}"
    async with httpx2.AsyncClient(base_url=site.url) as client:
        headers = [("Authorization", value), ("Authorization", value)]
        problem_of(await client.get("/api/v1/me", headers=headers), 401, "unauthenticated")


async def test_a_body_is_not_read_without_a_key(site: Site) -> None:
    async with httpx2.AsyncClient(base_url=site.url) as client:
        response = await client.post("/api/v1/invalidations", content=b"{" * 100)
    problem_of(response, 401, "unauthenticated")


def path_of(endpoint: Endpoint, **ids: str) -> str:
    path = endpoint.path
    for name in ("id", "user", "version"):
        path = path.replace(f"{{{name}}}", ids.get(name, "00000000-0000-7000-8000-000000000000"))
    return path.replace("{", "").replace("}", "")


def body_of(document: dict[str, Any], endpoint: Endpoint) -> Any:
    """The example of the body in the OpenAPI document, if the endpoint has a body."""
    operation = document["paths"][f"/api/v1{endpoint.path}"][endpoint.method.lower()]
    body = operation.get("requestBody")
    if body is None:
        return None
    if endpoint.is_raw:
        return {}
    schema = body["content"]["application/json"]["schema"]
    schema = schema.get("anyOf", [schema])[0]
    return document["components"]["schemas"][schema["$ref"].rpartition("/")[2]]["examples"][0]


async def call(client: httpx2.AsyncClient, endpoint: Endpoint, body: Any) -> httpx2.Response:
    path = path_of(endpoint).replace(
        "/versions/00000000-0000-7000-8000-000000000000", "/versions/1"
    )
    return await client.request(endpoint.method, path, json=body)


async def test_lesser_roles_are_refused(site: Site) -> None:
    document = await site.get("/openapi.json")
    for endpoint in ENDPOINTS:
        for role in Role:
            if role.includes(endpoint.role):
                continue
            async with site.client(role) as client:
                response = await call(client, endpoint, body_of(document, endpoint))
            assert response.status_code in (403, 422), endpoint.name
            if response.status_code == 403:
                problem_of(response, 403, "forbidden")
            else:
                assert "query" in response.text, endpoint.name


async def test_keys_are_limited_to_their_scopes(site: Site) -> None:
    document = await site.get("/openapi.json")
    for scope in KeyScope:
        key = await key_for(site.world, "admin@example.com", scope)
        async with site.client_of(key) as client:
            for endpoint in ENDPOINTS:
                if scope in endpoint.scopes:
                    continue
                response = await call(client, endpoint, body_of(document, endpoint))
                assert response.status_code in (403, 422), (scope, endpoint.name)


async def test_a_key_with_one_scope_is_enough(site: Site) -> None:
    ingest = await key_for(site.world, "writer@example.com", KeyScope.INGEST)
    async with site.client_of(ingest) as client:
        assert (await client.post("/invalidations", json={"dataset": "a"})).status_code == 201
        assert (await client.get("/me")).json()["scopes"] == ["ingest"]
    read = await key_for(site.world, "admin@example.com", KeyScope.READ)
    async with site.client_of(read) as client:
        assert (await client.get("/tasks")).status_code == 200


async def test_a_change_of_role_counts_at_once(site: Site) -> None:
    world = site.world
    body = {"kind": "org"}
    async with site.client("writer") as client:
        assert (await client.post("/pauses", json=body)).status_code == 200
        await set_user_role(world.caller, world.service, "writer@example.com", Role.READER)
        problem_of(await client.post("/pauses/resume", json=body), 403, "forbidden")


def _ids(rows: list[dict[str, Any]]) -> Iterator[str]:
    yield from (str(row["id"]) for row in rows)


async def test_ids_of_another_org_are_as_unknown_as_missing_ones(site: Site) -> None:
    other = site.other
    await other.changed("theirs", DAY)
    letters = await other.rows(
        "INSERT INTO dead_letters (id, org_id, consumer, stream, position, payload, error) VALUES "
        "(random_id_at(now()), %s, 'c', 's', '0', 'x', 'bad') RETURNING id",
        other.org.id,
    )
    theirs = {
        "/tasks/{}": (await site.get("/tasks", "other.admin"))["items"],
        "/tasks/{}/attempts": (await site.get("/tasks", "other.admin"))["items"],
        "/plans/{}": (await site.get("/plans", "other.admin"))["items"],
        "/dead-letters/{}": letters,
    }
    missing = "01941f29-7c00-7000-8000-000000000000"
    async with site.client() as client:
        for path, rows in theirs.items():
            (id_, *_) = _ids(rows)
            answer = await client.get(path.format(id_))
            unknown = await client.get(path.format(missing))
            assert answer.status_code == 404
            assert answer.text.replace(id_, missing) == unknown.text
        for path, body in writes():
            (id_, *_) = _ids(theirs[path.partition("/{}")[0] + "/{}"])
            answer = await client.post(path.format(id_), json=body)
            unknown = await client.post(path.format(missing), json=body)
            assert answer.status_code == 404
            assert answer.text.replace(id_, missing) == unknown.text
        (user, *_) = (await site.get("/users", "other.admin"))["items"]
        for id_ in (user["id"], missing):
            assert (await client.delete(f"/users/{id_}")).status_code == 404
        (invalidation, *_) = (await site.get("/invalidations", "other.admin"))["items"]
        for path in ("/invalidations/progress", "/invalidations/awaited"):
            answer = await client.get(path, params={"id": invalidation["id"]})
            assert answer.text == (await client.get(path, params={"id": missing})).text
    assert [task["status"] for task in (await site.get("/tasks", "other.admin"))["items"]] == [
        "queued"
    ]


def writes() -> Iterator[tuple[str, Any]]:
    yield "/tasks/{}/retry", None
    yield "/tasks/{}/cancel", None
    yield "/plans/{}/apply", None
    yield "/plans/{}/approve", None
    yield "/plans/{}/reject", None
    yield "/dead-letters/{}/replay", None
    yield "/dead-letters/{}/discard", {"reason": "x"}


async def test_lists_show_the_own_org_only(site: Site) -> None:
    await site.other.changed("theirs", DAY)
    for endpoint in ENDPOINTS:
        if endpoint.method != "GET" or "{" in endpoint.path or endpoint.path.startswith("/me"):
            continue
        async with site.client() as client:
            response = await client.get(endpoint.path)
        assert "their" not in response.text, endpoint.path
