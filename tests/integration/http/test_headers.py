"""Headers that occur twice, or that a request should not be able to write."""

from urllib.parse import quote

import httpx2
import pytest

from tests.integration.http.conftest import DAY, Site
from tests.integration.http.test_limits import raw
from tests.integration.http.test_problems import problem_of


@pytest.mark.parametrize(
    "name",
    [
        "Idempotency-Key",
        "Content-Type",
        "Content-Encoding",
        "Last-Event-ID",
        "Webhook-Id",
        "Webhook-Signature",
        "Webhook-Timestamp",
        "ce-id",
        "CE-Source",
    ],
)
async def test_a_repeated_header_is_rejected(site: Site, name: str) -> None:
    headers = [(name, "1"), (name.lower(), "1"), ("Authorization", f"Bearer {site.keys['admin']}")]
    body = {"dataset": "a", "partitions": [DAY]}
    async with httpx2.AsyncClient(base_url=site.url) as client:
        answer = await client.post("/api/v1/invalidations", json=body, headers=headers)
    problem_of(answer, 400, "repeated_header")
    assert await site.world.rows("SELECT id FROM data_invalidations WHERE reason = 'manual'") == []


@pytest.mark.parametrize(
    "head",
    [
        "POST /api/v1/invalidations HTTP/1.1\r\nContent-Length: 2\r\nContent-Length: 3",
        "POST /api/v1/invalidations HTTP/1.1\r\nContent-Length: 2\r\nTransfer-Encoding: chunked",
        "GET /api/v1/me HTTP/1.1\r\nX-A: b\x00c",
        "GET /api/v1/me HTTP/1.1\r\n folded: x",
        "GET /api/v1/me HTTP/1.1\r\nBad Name: x",
        "GET /api/v1/me\x00 HTTP/1.1",
    ],
)
async def test_a_malformed_head_is_rejected(site: Site, head: str) -> None:
    answer = await raw(site, head, b"Connection: close\r\n\r\n{}")
    assert answer.startswith(("HTTP/1.1 400", "HTTP/1.1 408")), answer
    assert await site.get("/me")


@pytest.mark.parametrize("text", ["a\r\nSet-Cookie: x=1", "a\nb", "a%0d%0aX-Injected: 1"])
async def test_no_text_of_a_request_becomes_a_header(site: Site, text: str) -> None:
    async with site.client() as client:
        for answer in (
            await client.get(f"/dags/{quote(text)}/deploys"),
            await client.get("/tasks", params={"cursor": text, text: "1"}),
            await client.post("/pauses", json={"kind": "dataset", "name": text, "reason": text}),
        ):
            assert "set-cookie" not in answer.headers
            assert "x-injected" not in answer.headers


async def test_several_tags_are_compared(site: Site) -> None:
    async with site.client() as client:
        tag = (await client.get("/me")).headers["etag"]
        for value in ([("If-None-Match", '"x"'), ("If-None-Match", tag)], [("If-None-Match", tag)]):
            assert (await client.get("/me", headers=value)).status_code == 304
