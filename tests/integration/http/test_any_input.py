"""Every operation with many values in each place: problems, or responses as declared."""

import json
from collections.abc import Iterator
from datetime import date, timedelta
from typing import Any

import httpx2
import msgspec
import pytest

from engine.flow.retention.publish import publish
from engine.http.endpoints import endpoints
from engine.http.problems import Problem
from engine.http.resource import Endpoint
from engine.service.commands.worker_tasks import ClaimedTask, claim_tasks
from tests.integration.http.conftest import DAY, Site
from tests.integration.http.test_access import body_of
from tests.support.worlds import World

TEXTS = (
    *("", "a", "b", "w", "\0", "x" * 600, "%", "../..", DAY, "*", "ß/é"),
    *("' OR 1=1", "'; DROP TABLE knockon.tasks; --", "\x1b[2J\x1b]0;x\x07", "\r\nX-Injected: 1"),
    # Bidirectional, of no width, and confusable with "a".
    *("a\u202eb", "a\u200bb", "\u0430"),
)
VALUES: tuple[Any, ...] = (
    None,
    True,
    -1,
    0,
    2**63,
    1e300,
    [],
    {},
    ["a"],
    [DAY],
    {"x": "\0"},
    "\ud800",
    ["\ud800"],
    {"\ud800": "\ud800"},
    *TEXTS,
)
_DIGEST = "SELECT md5(string_agg(t::text, ' ' ORDER BY t::text)) AS md5 FROM"
_OF = "WHERE t.org_id = %s"
NUMBERS = ("0", "1", "-1", "99999999999999999999", "1e3", "nan")
IDS = ("01941f29-7c00-7000-8000-000000000000",)
ENDPOINTS = [each for each in endpoints() if each.name != "stream_events"]


def requests(document: dict[str, Any], endpoint: Endpoint) -> Iterator[dict[str, Any]]:
    """Requests with one unusual value each, after a usual one."""
    path = f"/api/v1{endpoint.path}"
    operation = document["paths"][path][endpoint.method.lower()]
    parameters = operation.get("parameters", [])
    usual = {each["name"]: IDS[0] for each in parameters if each["in"] == "path"}
    usual |= {name: "a" for name in usual if name not in ("id", "user")}
    usual |= {"endpoint": "in"} if "endpoint" in usual else {}
    usual |= {"version": "1"} if path.endswith("/file") else {}
    usual |= {"version": IDS[0]} if "of-version" in path else {}
    query = {"id": IDS[0]} if any(each["name"] == "id" for each in parameters) else {}
    query |= {"partition": DAY} if path.endswith("explanation") else {}
    body = body_of(document, endpoint)
    yield {"path": path.format(**usual), "params": query, "body": body}
    for each in parameters:
        for value in (*TEXTS, *NUMBERS, *IDS):
            name = each["name"]
            if each["in"] == "path":
                given = {**usual, name: quoted(value)}
                yield {"path": path.format(**given), "params": query, "body": body}
            elif each["in"] == "query":
                more = {**query, name: value}
                yield {"path": path.format(**usual), "params": more, "body": body}
    for name in body or ():
        for value in VALUES:
            given = {**body, name: value}
            yield {"path": path.format(**usual), "params": query, "body": given}


def quoted(text: str) -> str:
    return "".join(f"%{byte:02X}" for byte in text.encode())


@pytest.mark.parametrize("endpoint", ENDPOINTS, ids=lambda each: each.name)
async def test_any_value_is_answered(site: Site, endpoint: Endpoint) -> None:
    await site.world.changed("a", DAY)
    async with site.world.conn() as conn:
        await publish(conn)
    document = await site.get("/openapi.json")
    theirs = await rows_of(site.other)
    async with site.client() as client:
        for number, request in enumerate(requests(document, endpoint)):
            if endpoint.requires_task:
                task = await held_task(site, number)
                client.headers["Authorization"] = f"Bearer {task.token}"
                request["path"] = request["path"].replace(IDS[0], str(task.id))
            response = await client.request(
                endpoint.method,
                f"{site.url}{request['path']}",
                params=request["params"],
                # With escapes, because no UTF-8 represents a lone surrogate.
                content=None if request["body"] is None else json.dumps(request["body"]),
                headers={"Content-Type": "application/json"},
            )
            check(response, endpoint)
    assert await rows_of(site.other) == theirs


async def rows_of(world: World) -> dict[str, str | None]:
    """A digest of an org's rows, by table."""
    tables = await world.rows(
        "SELECT c.relname AS name FROM pg_class c JOIN pg_attribute a ON a.attrelid = c.oid "
        "WHERE c.relnamespace = 'knockon'::regnamespace AND c.relkind IN ('r', 'p') "
        "AND NOT c.relispartition AND a.attname = 'org_id'"
    )
    return {
        name: (await world.rows(f"{_DIGEST} knockon.{name} t {_OF}", world.org.id))[0]["md5"]
        for name in (row["name"] for row in tables)
    }


async def held_task(site: Site, number: int) -> ClaimedTask:
    """A new task, held by a worker; the number selects its partition."""
    world = site.world
    await world.changed("a", str(date(2013, 1, 1) + timedelta(days=number)))
    (task, *_) = await claim_tasks(world.caller, world.service, "w", runtimes=["local"])
    return task


def check(response: httpx2.Response, endpoint: Endpoint) -> None:
    """The response has the declared type, or is a problem of the request."""
    assert response.status_code < 500, (response.request.url, response.request.content)
    if response.is_success:
        msgspec.json.decode(response.content, type=endpoint.returns)
        assert "x-injected" not in response.headers
    else:
        problem = msgspec.json.decode(response.content, type=Problem)
        assert problem.status == response.status_code
        assert json.dumps(problem.detail)
