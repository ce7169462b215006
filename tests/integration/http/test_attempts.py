"""Requests without a valid key are limited by address, and lock out no valid key."""

import httpx2
import pytest

from engine.errors import Unauthenticated
from engine.http.app import Limits
from engine.http.attempts import Attempts, address_of
from engine.http.problems import RequestError
from tests.integration.http.conftest import Site, add_people, serving
from tests.integration.http.test_problems import problem_of
from tests.support.worlds import World

FEW = Limits(failures=0.2)
WRONG = "kn_" + "0" * 12 + "_" + "x" * 43


async def attempts(site: Site, count: int, **headers: str) -> list[httpx2.Response]:
    async with site.client_of(WRONG, **headers) as client:
        return [await client.get("/me") for _ in range(count)]


async def test_failed_attempts_of_an_address_are_limited(worlds: tuple[World, World]) -> None:
    async with serving(*worlds, FEW) as site:
        await add_people(site)
        await site.get("/me")
        first, second, third = await attempts(site, 3)
        problem_of(first, 401, "unauthenticated")
        problem_of(second, 401, "unauthenticated")
        problem_of(third, 429, "too_many_requests")
        assert int(third.headers["retry-after"]) >= 1
        # A key that was valid before still is; an unknown one of the same address has to wait.
        await site.get("/me")
        async with site.client("reader") as client:
            problem_of(await client.get("/me"), 429, "too_many_requests")


async def test_the_openapi_document_is_limited_as_well(worlds: tuple[World, World]) -> None:
    async with serving(*worlds, FEW) as site, httpx2.AsyncClient(base_url=site.url) as client:
        answers = [await client.get("/api/v1/openapi.json") for _ in range(3)]
    assert [answer.status_code for answer in answers] == [200, 200, 429]


@pytest.mark.parametrize("proxies", ["127.0.0.1", ""])
async def test_only_a_trusted_proxy_names_the_client(
    worlds: tuple[World, World], proxies: str
) -> None:
    async with serving(*worlds, FEW, proxies) as site:
        await attempts(site, 2, **{"X-Forwarded-For": "203.0.113.1"})
        (answer,) = await attempts(site, 1, **{"X-Forwarded-For": "203.0.113.2"})
        assert answer.status_code == (401 if proxies else 429)
        spoofed = {"X-Forwarded-For": "203.0.113.9, 203.0.113.1"}
        (answer,) = await attempts(site, 1, **spoofed)
        assert answer.status_code == 429


async def test_a_revoked_key_is_a_failure() -> None:
    limited = Attempts(0.1)
    scope = {"client": ("203.0.113.1", 1)}
    async with limited.attempt(scope, "x"):
        pass
    for refused in (Unauthenticated, Unauthenticated, RequestError):
        with pytest.raises(refused):
            async with limited.attempt(scope, "x"):
                raise Unauthenticated("revoked")


@pytest.mark.parametrize(
    ("host", "expected"),
    [
        ("203.0.113.1", "203.0.113.1"),
        ("::ffff:203.0.113.1", "203.0.113.1"),
        ("2001:db8:1:2:3:4:5:6", "2001:0db8:0001:0002"),
        ("unix", "unix"),
        (None, ""),
    ],
)
def test_addresses_of_one_network_count_together(host: str | None, expected: str) -> None:
    assert address_of({"client": None if host is None else (host, 1)}) == expected
