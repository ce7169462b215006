"""A service with an identity provider, and browsers that log in."""

from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from dataclasses import dataclass, field
from time import monotonic
from typing import Any
from urllib.parse import parse_qs, urlsplit

import httpx2

from engine.http.public_site import PublicSite
from engine.model.admission import Admission
from engine.model.states import Role
from engine.oidc.cache import MetadataCache
from engine.oidc.config import OidcConfig
from engine.oidc.metadata import fetch_metadata
from engine.oidc.provider import IdentityProvider
from engine.service.commands.orgs import set_admission
from tests.integration.http.conftest import Site, add_people, serving
from tests.support.identity_provider import AUDIENCE, CLIENT, SECRET, IdentityProviderServer
from tests.support.worlds import World

PUBLIC = "https://knockon.test"
SESSION, LOGIN = "__Host-knockon_session", "__Host-knockon_login"
SAME_ORIGIN = {"origin": PUBLIC, "sec-fetch-site": "same-origin"}


@dataclass
class Clock:
    """The clock of the cache of keys, moved by tests."""

    shift: float = 0.0

    def __call__(self) -> float:
        return monotonic() + self.shift


@dataclass
class SignIn:
    """A running service, its provider, and the clock of its cache."""

    site: Site
    provider: IdentityProviderServer
    clock: Clock

    def client(self, token: str, org: str | None = None) -> httpx2.AsyncClient:
        headers = {} if org is None else {"Knockon-Org": org}
        return self.site.client_of(token, **headers)

    async def me(self, token: str, org: str | None = None) -> httpx2.Response:
        async with self.client(token, org) as client:
            return await client.get("/me")

    async def changes(self, who: str = "admin") -> list[tuple[Any, ...]]:
        """Changes by the identity provider, newest first."""
        rows = (await self.site.get("/access-changes", who))["items"]
        return [
            (row["change"], row["subject"], row["before"], row["after"])
            for row in rows
            if row["origin"] == "identity provider"
        ]

    def browser(self) -> "Browser":
        return Browser(self)


@dataclass
class Browser:
    """A browser, which keeps cookies and follows redirects by itself, without TLS."""

    sign_in: SignIn
    cookies: dict[str, str] = field(default_factory=dict)

    async def request(self, method: str, path: str, **options: Any) -> httpx2.Response:
        """Send a request with the cookies; the Host is that of an attacker, and must not matter."""
        headers = {"host": "evil.test", **options.pop("headers", {})}
        if self.cookies:
            headers["cookie"] = "; ".join(f"{name}={value}" for name, value in self.cookies.items())
        async with httpx2.AsyncClient(base_url=self.sign_in.site.url, timeout=20) as client:
            response = await client.request(method, path, headers=headers, **options)
        for line in response.headers.get_list("set-cookie"):
            self._store(line)
        return response

    def _store(self, line: str) -> None:
        pair, *attributes = line.split("; ")
        name, _, value = pair.partition("=")
        names = {each.partition("=")[0].lower(): each.partition("=")[2] for each in attributes}
        assert {"httponly", "secure"} <= names.keys()
        assert (names["path"], names["samesite"], "domain" in names) == ("/", "lax", False)
        self.cookies.pop(name, None)
        if names["max-age"] != "0":
            self.cookies[name] = value

    async def begin(self, **query: str) -> str:
        """Begin a login, and return the address of the provider."""
        response = await self.request("GET", "/api/v1/login", params=query)
        assert response.status_code == 303, response.text
        return response.headers["location"]

    async def authorize(self, location: str) -> str:
        """Log in at the provider, and return the path to which it sends the browser back."""
        async with httpx2.AsyncClient() as client:
            response = await client.get(location)
        assert response.status_code == 302
        address = urlsplit(response.headers["location"])
        assert f"{address.scheme}://{address.netloc}" == PUBLIC
        return f"{address.path}?{address.query}"

    async def log_in(self, subject: str = "ann", /, org: str = "default", **claims: Any) -> None:
        """Log a person in."""
        response = await self.attempt(subject, org, **claims)
        assert response.status_code == 303, response.text

    async def attempt(
        self, subject: str, org: str | None = "default", /, **claims: Any
    ) -> httpx2.Response:
        """Log a person in, and return the response to the callback."""
        self.sign_in.provider.person = {
            "sub": subject,
            "email": f"{subject}@example.com",
            **claims,
        }
        query = {} if org is None else {"org": org}
        path = await self.authorize(await self.begin(**query))
        return await self.request("GET", path)

    async def me(self) -> httpx2.Response:
        return await self.request("GET", "/api/v1/me")


def query_of(location: str) -> dict[str, str]:
    """The parameters of an address."""
    return {name: values[0] for name, values in parse_qs(urlsplit(location).query).items()}


async def admit(world: World, issuer: str, **terms: Any) -> None:
    """Set the terms of admission of an org."""
    await set_admission(world.caller, world.service, Admission(issuer, **terms))


async def open_to_groups(sign_in: SignIn) -> None:
    """Admit readers and leads, by their groups, to the first org."""
    await admit(
        sign_in.site.world,
        sign_in.provider.issuer,
        creates_users=True,
        roles={"readers": Role.READER, "leads": Role.ADMIN},
        org_roles={"money": ("finance",)},
    )


@asynccontextmanager
async def signing_in(
    worlds: tuple[World, World], provider: IdentityProviderServer
) -> AsyncIterator[SignIn]:
    """A service that trusts the provider, and admits nobody yet."""
    config = OidcConfig(provider.issuer, AUDIENCE, CLIENT, SECRET)
    clock = Clock()
    cache = MetadataCache(lambda: fetch_metadata(provider.issuer), clock)
    identity = IdentityProvider(config, cache=cache)
    async with serving(*worlds, identity_provider=identity, public_site=PublicSite(PUBLIC)) as site:
        await add_people(site)
        yield SignIn(site, provider, clock)
