"""Bodies that are large, deep or slow; rates; security headers; the end of the service."""

import asyncio
import json
import time
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from typing import Any

import httpx2
import pytest

from engine import web_server
from engine.http.app import Limits
from engine.http.limits import MAX_DEPTH
from engine.service.caller import Caller
from engine.service.service import Service
from tests.integration.http.conftest import Site, add_people, serving
from tests.integration.http.test_problems import problem_of
from tests.support.worlds import World


@pytest.fixture
async def strict(worlds: tuple[World, World]) -> AsyncIterator[Site]:
    """A service with narrow limits."""
    limits = Limits(body_bytes=1_000, body_seconds=0.5, per_second=5, streams=1)
    async with serving(*worlds, limits) as site:
        await add_people(site)
        yield site


async def raw(site: Site, head: str, *parts: bytes, pause: float = 0) -> str:
    """The response to a request written by hand, read until the end of the connection."""
    reader, writer = await opened(site)
    text = f"{head}\r\nHost: x\r\nAuthorization: Bearer {site.keys['admin']}\r\n"
    writer.write(text.replace("\n\n", "\n").encode())
    for part in parts:
        writer.write(part)
        await writer.drain()
        await asyncio.sleep(pause)
    async with asyncio.timeout(10):
        answer = (await reader.read()).decode()
    writer.close()
    return answer


POST = "POST /api/v1/invalidations HTTP/1.1\r\nContent-Type: application/json"


async def test_a_large_body_is_rejected_by_its_length(strict: Site) -> None:
    answer = await raw(strict, POST, b"Content-Length: 1001\r\n\r\n")
    assert answer.startswith("HTTP/1.1 413")
    assert "urn:knockon:problem:too_large" in answer


async def test_a_large_body_without_length_is_rejected_on_the_way(strict: Site) -> None:
    chunk = b"400\r\n" + b" " * 0x400 + b"\r\n"
    answer = await raw(strict, POST, b"Transfer-Encoding: chunked\r\n\r\n", chunk)
    assert answer.startswith("HTTP/1.1 413")


async def test_a_slow_body_times_out(strict: Site) -> None:
    began = time.monotonic()
    answer = await raw(strict, POST, b"Content-Length: 100\r\n\r\n", b"{", b" ", pause=0.1)
    assert answer.startswith("HTTP/1.1 408")
    assert "urn:knockon:problem:too_slow" in answer
    assert time.monotonic() - began < 5


@pytest.mark.parametrize("path", ["POST /api/v1/deploys", "GET /api/v1/nothing"])
async def test_a_connection_ends_with_a_body_that_is_not_read(site: Site, path: str) -> None:
    text = f"{path} HTTP/1.1\r\nHost: x\r\nContent-Length: 100\r\n\r\n{{"
    reader, writer = await opened(site)
    writer.write(text.encode())
    async with asyncio.timeout(4):  # idle connections end after five seconds
        answer = await reader.read()
    assert answer.startswith(b"HTTP/1.1 401")
    writer.close()


async def opened(site: Site) -> tuple[asyncio.StreamReader, asyncio.StreamWriter]:
    host, _, port = site.url.removeprefix("http://").rpartition(":")
    return await asyncio.open_connection(host, int(port))


@pytest.mark.parametrize("head", ["", "GET /api/v1/me HTTP/1.1"])
async def test_a_slow_head_times_out(
    site: Site, monkeypatch: pytest.MonkeyPatch, head: str
) -> None:
    monkeypatch.setattr(web_server, "_HEADER_SECONDS", 0.5)
    reader, writer = await opened(site)
    writer.write(head.encode())
    async with asyncio.timeout(10):
        answer = await reader.read()
    assert answer.startswith(b"HTTP/1.1 408")
    writer.close()


async def test_a_second_slow_head_times_out(site: Site, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(web_server, "_HEADER_SECONDS", 0.5)
    get = "GET /api/v1/openapi.json HTTP/1.1\r\nHost: x"
    reader, writer = await opened(site)
    async with asyncio.timeout(10):
        writer.write(f"{get}\r\n\r\n".encode())
        assert (await reader.readline()).startswith(b"HTTP/1.1 200")
        await asyncio.sleep(0.5)
        writer.write(get.encode())
        assert b"HTTP/1.1 408" in await reader.read()
    writer.close()


@pytest.mark.parametrize("shape", ["[%s]", '{"a":%s}'])
async def test_a_deep_body_is_rejected(site: Site, shape: str) -> None:
    before, after = shape.split("%s")
    for depth in (MAX_DEPTH + 2, 500, 100_000):
        text = before * depth + "1" + after * depth
        async with site.client(**{"Content-Type": "application/json"}) as client:
            response = await client.post("/invalidations", content=text)
        problem_of(response, 400, "too_deep")


async def test_requests_beyond_the_rate_are_rejected(strict: Site) -> None:
    async with strict.client("reader") as client:
        answers = [await client.get("/me") for _ in range(30)]
    (rejected, *_) = [each for each in answers if each.status_code != 200]
    problem_of(rejected, 429, "too_many_requests")
    assert rejected.headers["retry-after"] == "1"
    async with strict.client("writer") as client:
        assert (await client.get("/me")).status_code == 200


async def test_responses_have_security_headers(site: Site) -> None:
    async with site.client() as client, httpx2.AsyncClient(base_url=site.url) as stranger:
        answers = [
            await client.get("/me"),
            await client.get("/nothing"),
            await client.post("/deploys", content=b"{"),
            await stranger.get("/api/v1/me"),
            await stranger.get("/api/v1/openapi.json"),
        ]
    for answer in answers:
        assert answer.headers["x-content-type-options"] == "nosniff"
        assert answer.headers["content-security-policy"].startswith("default-src 'none'")
        assert "server" not in answer.headers
    assert answers[1].headers["cache-control"] == "no-store"


async def test_a_request_in_progress_is_answered_at_the_end(
    worlds: tuple[World, World], monkeypatch: pytest.MonkeyPatch
) -> None:
    started, going = asyncio.Event(), asyncio.Event()
    original = Service.snapshot

    @asynccontextmanager
    async def slow(service: Service, caller: Caller) -> AsyncIterator[Any]:
        started.set()
        await going.wait()
        async with original(service, caller) as found:
            yield found

    monkeypatch.setattr(Service, "snapshot", slow)
    async with serving(*worlds) as site:
        await add_people(site)
        task = asyncio.create_task(site.get("/status"))
        await started.wait()
        asyncio.get_running_loop().call_later(0.5, going.set)
    assert (await task)["dags"]


async def test_the_openapi_document_needs_no_key(site: Site) -> None:
    async with httpx2.AsyncClient(base_url=site.url) as client:
        document = (await client.get("/api/v1/openapi.json")).json()
    assert document["info"]["title"] == "Knockon"
    assert json.dumps(document)
