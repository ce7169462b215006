"""The HTTP service on a socket, with two orgs and users of each role."""

import asyncio
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from dataclasses import dataclass, field
from typing import Any

import httpx2
import pytest

from engine.flow.shared.org_context import OrgContext
from engine.http.app import Limits, http_app
from engine.http.costly import CostlyOperations
from engine.http.public_site import PublicSite
from engine.model.states import KeyScope, Role
from engine.oidc.provider import IdentityProvider
from engine.service.commands.api_keys import create_key
from engine.service.commands.users import add_user
from engine.service.service import Service
from engine.store.database import Database
from engine.store.orgs import ensure_org
from engine.store.tenancy import TenantDatabase
from engine.web_server import HTTP_SERVICE, WebServer
from tests.support.worlds import World, job, source

DAY, OTHER = "2013-02-13", "2013-02-14"


@dataclass
class Site:
    """A running service, and clients of its orgs by role."""

    world: World
    other: World
    url: str
    costly: CostlyOperations
    keys: dict[str, str] = field(default_factory=dict)

    def client(self, who: str = "admin", **headers: str) -> httpx2.AsyncClient:
        """A client with the key of a role, such as ``reader`` or ``other.admin``."""
        return self.client_of(self.keys[who], **headers)

    def client_of(self, key: str, **headers: str) -> httpx2.AsyncClient:
        return httpx2.AsyncClient(
            base_url=f"{self.url}/api/v1",
            headers={"Authorization": f"Bearer {key}", **headers},
            timeout=60,
        )

    async def get(self, path: str, who: str = "admin", **params: Any) -> Any:
        """The JSON of a GET with status 200."""
        async with self.client(who) as client:
            response = await client.get(path, params=params)
        assert response.status_code == 200, response.text
        return response.json()

    async def post(self, path: str, body: Any = None, who: str = "admin", **params: Any) -> Any:
        """The JSON of a POST that succeeds."""
        async with self.client(who) as client:
            response = await client.post(path, json=body, params=params)
        assert response.status_code in (200, 201), response.text
        return response.json()


async def key_for(world: World, user: str, *scopes: KeyScope, **more: Any) -> str:
    created = await create_key(
        world.caller, world.service, user, "test", scopes or (KeyScope.API,), **more
    )
    return created.key


@asynccontextmanager
async def serving(
    world: World,
    other: World,
    limits: Limits | None = None,
    proxies: str = "",
    identity_provider: IdentityProvider | None = None,
    public_site: PublicSite | None = None,
) -> AsyncIterator[Site]:
    """A service confined by row-level security on a free port, stopped as by a signal."""
    async with await TenantDatabase.open(world.database.url) as tenants:
        service = Service(tenants, identity_provider=identity_provider)
        app = http_app(service, limits or Limits(), public_site)
        server, stop = WebServer(app, "127.0.0.1:0", HTTP_SERVICE, proxies), asyncio.Event()
        async with asyncio.TaskGroup() as group:
            group.create_task(server.run(stop))
            try:
                yield Site(world, other, server.url, app.state.costly)
            finally:
                app.state.feeds.stop()
                stop.set()
        await app.state.costly.close()


async def add_people(site: Site) -> None:
    for prefix, world in (("", site.world), ("other.", site.other)):
        for role in Role:
            await add_user(world.caller, world.service, f"{role}@example.com", role)
            site.keys[prefix + role] = await key_for(world, f"{role}@example.com")


@pytest.fixture
async def worlds(database: Database) -> tuple[World, World]:
    world = await World.made(database, source("a"), job("b", "a", config={}, version="1"))
    async with database.connection() as conn:
        other = World(database, OrgContext(await ensure_org(conn, "other")))
    await other.deploy(source("theirs"), job("t", "theirs", version="1"), dag="their_dag")
    return world, other


@pytest.fixture
async def site(worlds: tuple[World, World]) -> AsyncIterator[Site]:
    async with serving(*worlds) as site:
        await add_people(site)
        yield site
