"""Errors as problem details, and malformed requests."""

import asyncio
import json
from typing import Any

import httpx2
import psycopg
import pytest

from engine.errors import KnockonError
from engine.http import problems
from engine.service.service import Service
from engine.store.database import Database
from tests.integration.http.conftest import DAY, Site, key_for
from tests.unit.test_errors import all_errors

MISSING = "01941f29-7c00-7000-8000-000000000000"
CHANGE = {"dataset": "a", "partitions": [DAY]}


def problem_of(response: httpx2.Response, status: int, code: str) -> dict[str, Any]:
    """The problem details of a response, with the status and code checked."""
    assert response.headers["content-type"] == "application/problem+json"
    body: dict[str, Any] = response.json()
    assert (response.status_code, body["status"], body["type"]) == (
        status,
        status,
        f"urn:knockon:problem:{code}",
    )
    assert body["title"]
    return body


@pytest.mark.parametrize("error", [*all_errors()], ids=lambda error: error.code)
def test_each_error_of_the_service_has_a_status(error: type[KnockonError]) -> None:
    own = {"error", "task_failed", "invalid_output"}
    assert (problems.status_of(error) is None) == (error.code in own)


@pytest.mark.parametrize(
    ("path", "code"),
    [
        ("/datasets/nothing/partitions", "unknown_name"),
        ("/dags/nothing/deploys", "unknown_name"),
        ("/jobs?dag=nothing", "unknown_name"),
        (f"/tasks/{MISSING}", "unknown_name"),
        (f"/tasks/{MISSING}/attempts", "unknown_name"),
        (f"/plans/{MISSING}", "unknown_name"),
        (f"/dead-letters/{MISSING}", "unknown_name"),
        ("/nothing", "unknown_path"),
        ("/tasks/", "unknown_path"),
    ],
)
async def test_missing_things_are_not_found(site: Site, path: str, code: str) -> None:
    async with site.client() as client:
        problem_of(await client.get(path), 404, code)


async def test_other_methods_are_named(site: Site) -> None:
    async with site.client() as client:
        response = await client.delete("/status")
    problem_of(response, 405, "method_not_allowed")
    assert response.headers["allow"] == "GET"


@pytest.mark.parametrize(
    ("path", "location"),
    [
        ("/tasks?limit=0", ["query", "limit"]),
        ("/tasks?limit=1001", ["query", "limit"]),
        ("/tasks?limit=x", ["query", "limit"]),
        ("/tasks?status=done", ["query", "status", 0]),
        ("/invalidations/of-version/7", ["path", "version"]),
        ("/dags/w/versions/99999999999999999999/file", ["path", "version"]),
        ("/events?after=-1", ["query", "after"]),
        ("/datasets/b/explanation", ["query", "partition"]),
        ("/tasks?stauts=failed", ["query", "stauts"]),
    ],
)
async def test_invalid_parameters_are_located(
    site: Site, path: str, location: list[str | int]
) -> None:
    async with site.client() as client:
        body = problem_of(await client.get(path), 422, "invalid_input")
    assert [error["location"] for error in body["errors"]] == [location]


async def test_invalid_fields_are_located(site: Site) -> None:
    async with site.client() as client:
        response = await client.post("/invalidations", json={"partition": [DAY]})
    body = problem_of(response, 422, "invalid_input")
    assert {error["location"][-1] for error in body["errors"]} == {"partition", "dataset"}


@pytest.mark.parametrize(
    ("change", "code"),
    [
        ({"dataset": "nothing"}, "unknown_name"),
        ({"dataset": "a", "partitions": ["yesterday"]}, "invalid_partition"),
        ({"dataset": "a", "rows": {}}, "invalid_event"),
        ({"dataset": "a", "rows": {"x": [[]]}}, "invalid_event"),
        ({"dataset": "a", "rows": {"x": 2**70}}, "invalid_event"),
    ],
)
async def test_impossible_changes_are_rejected(
    site: Site, change: dict[str, Any], code: str
) -> None:
    async with site.client() as client:
        for path in ("/invalidations", "/plans"):
            status = 404 if code == "unknown_name" else 422
            problem_of(await client.post(path, json=change), status, code)


async def test_problems_of_dag_files_are_reported_together(site: Site) -> None:
    python = {"dag": "p", "jobs": [{"name": "j", "operator": "python"}]}
    files = ["dag: [", "jobs: []", json.dumps(python)]
    async with site.client() as client:
        response = await client.post("/deploys", json={"files": files})
    detail = problem_of(response, 422, "invalid_dag")["detail"]
    assert [f"files[{number}]:" in detail for number in range(3)] == [True, True, True]


@pytest.mark.parametrize(
    "body",
    [b"{", b"", b"[1", b'"\\ud800"', b'{"dataset": "\\ud800x"}', b"\xff", b"NaN", b"1e999"],
)
async def test_malformed_json_is_rejected(site: Site, body: bytes) -> None:
    async with site.client(**{"Content-Type": "application/json"}) as client:
        response = await client.post("/invalidations", content=body)
    if body:
        problem_of(response, 400, "malformed_json")
    else:
        problem_of(response, 422, "invalid_input")


async def test_other_content_types_are_rejected(site: Site) -> None:
    async with site.client(**{"Content-Type": "text/plain"}) as client:
        response = await client.post("/invalidations", content=json.dumps(CHANGE))
    problem_of(response, 422, "invalid_input")


@pytest.mark.parametrize("text", ["\0", "a\0b", "a' OR 1=1 --", "\u202eb", "\x1b[31m", "😀" * 400])
async def test_no_text_causes_an_error_of_the_service(site: Site, text: str) -> None:
    async with site.client() as client:
        answers = [
            await client.post("/invalidations", json={"dataset": text}),
            await client.post("/invalidations", json={**CHANGE, "partitions": [text]}),
            await client.post("/invalidations", json={**CHANGE, "columns": [text]}),
            await client.post("/invalidations", json={**CHANGE, "rows": {text: text}}),
            await client.post("/invalidations", json={**CHANGE, "note": text}),
            await client.post("/invalidations", json={**CHANGE, "version": text}),
            await client.post("/users", json={"email": text, "role": "reader"}),
            await client.post("/roles", json={"slug": text}),
            await client.post("/roles/x/members", json={"user": text}),
            await client.post("/keys", json={"user": text, "name": text, "scopes": ["api"]}),
            await client.post("/pauses", json={"kind": "org", "reason": text}),
            await client.post("/pauses", json={"kind": "job", "name": text}),
            await client.post("/backfills", json={"target": text, "partitions": [text]}),
            await client.post("/deploys", json={"files": [text]}),
            await client.post("/dead-letters/discard", json={"reason": text, "stream": text}),
            await client.get("/tasks", params={"partition": text, "job": text}),
            await client.get("/tasks", params={"partition": text}),
            await client.get("/invalidations", params={"dataset": text}),
            await client.get("/datasets/b/explanation", params={"partition": text}),
            await client.get("/tasks", params={"cursor": text}),
            await client.get(f"/datasets/{quoted(text)}/partitions"),
            await client.post(f"/keys/{quoted(text)}/revoke"),
            await client.post(f"/jobs/{quoted(text)}/run"),
        ]
    assert [each for each in answers if each.status_code >= 500] == []


def quoted(text: str) -> str:
    return "".join(f"%{byte:02x}" for byte in text.encode())


async def test_a_cursor_is_passed_unchanged(site: Site) -> None:
    async with site.client() as client:
        for path in ("/tasks", "/deploys", "/events", "/datasets", "/users"):
            for cursor in ("x", "====", "é"):
                response = await client.get(path, params={"cursor": cursor})
                assert "cursor" in problem_of(response, 422, "invalid_input")["detail"]


async def test_an_unexpected_error_is_not_described(
    site: Site, monkeypatch: pytest.MonkeyPatch
) -> None:
    def fail(*_: Any) -> None:
        raise RuntimeError("secret detail")

    monkeypatch.setattr(Service, "snapshot", fail)
    async with site.client() as client:
        response = await client.get("/status")
    assert "secret" not in response.text
    problem_of(response, 500, "internal_error")
    assert response.headers["x-content-type-options"] == "nosniff"


async def test_an_outage_is_not_described(site: Site, monkeypatch: pytest.MonkeyPatch) -> None:
    def fail(*_: Any) -> None:
        raise psycopg.OperationalError("connection to db.internal failed")

    monkeypatch.setattr(Database, "connection", fail)
    async with site.client() as client:
        response = await client.get("/status")
    assert "internal" not in response.text
    problem_of(response, 503, "service_unavailable")
    assert response.headers["retry-after"] == "2"


async def test_a_reused_idempotency_key_is_a_conflict(site: Site) -> None:
    async with site.client("writer", **{"Idempotency-Key": "k1"}) as client:
        first = await client.post("/invalidations", json=CHANGE)
        second = await client.post("/invalidations", json=CHANGE)
        other = await client.post("/invalidations", json={"dataset": "a"})
    assert (first.status_code, second.status_code) == (201, 200)
    assert first.json()["invalidations"] == second.json()["invalidations"]
    assert [first.json()["is_new"], second.json()["is_new"]] == [True, False]
    problem_of(other, 409, "idempotency_conflict")


async def test_keys_of_idempotency_are_separate_by_org(site: Site) -> None:
    headers = {"Idempotency-Key": "k1"}
    async with site.client(**headers) as ours, site.client("other.admin", **headers) as theirs:
        assert (await ours.post("/invalidations", json=CHANGE)).status_code == 201
        response = await theirs.post("/invalidations", json={"dataset": "theirs"})
        assert response.status_code == 201


async def test_headers_cannot_be_injected(site: Site) -> None:
    key = await key_for(site.world, "admin@example.com")
    async with site.client_of(key) as client:
        response = await client.get("/tasks", params={"cursor": "x\r\nset-cookie: a=b"})
        assert "set-cookie" not in response.headers
        response = await client.get("/jobs/x%0d%0aset-cookie:%20a=b/run")
        assert "set-cookie" not in response.headers


@pytest.mark.parametrize(
    ("method", "path", "allowed"),
    [
        ("PUT", "/users", "GET, POST"),
        ("DELETE", "/dead-letters/discard", "POST"),
        ("POST", "/dead-letters/01941f29-7c00-7000-8000-000000000000", "GET"),
    ],
)
async def test_methods_of_a_path_are_listed(
    site: Site, method: str, path: str, allowed: str
) -> None:
    async with site.client() as client:
        response = await client.request(method, path)
    problem_of(response, 405, "method_not_allowed")
    assert response.headers["allow"] == allowed


async def test_an_address_that_is_too_long_is_a_problem(site: Site) -> None:
    host, _, port = site.url.removeprefix("http://").rpartition(":")
    reader, writer = await asyncio.open_connection(host, int(port))
    writer.write(f"GET /api/v1/tasks?job={'x' * 66_000} HTTP/1.1\r\nHost: x\r\n\r\n".encode())
    answer = (await reader.read()).decode()
    writer.close()
    assert answer.startswith("HTTP/1.1 400")
    assert "application/problem+json" in answer
    assert "urn:knockon:problem:malformed_request" in answer


@pytest.mark.parametrize("value", [0, "true", 1.0])
async def test_values_are_not_converted(site: Site, value: Any) -> None:
    async with site.client() as client:
        response = await client.post("/org/four-eyes", json={"required": value})
    problem_of(response, 422, "invalid_input")
