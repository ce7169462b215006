"""The neighbourhood of a dataset out of 100,000, by the operation and over HTTP."""

import asyncio
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from dataclasses import dataclass
from time import perf_counter
from typing import Any

import httpx2

from engine.http.app import http_app
from engine.model.states import KeyScope, Role
from engine.service.caller import Caller, Org
from engine.service.commands.api_keys import create_key
from engine.service.commands.users import add_user
from engine.service.queries.neighbourhood import neighbourhood
from engine.service.service import Service
from engine.store.database import Database
from engine.store.orgs import org_id
from engine.store.tenancy import TenantDatabase
from engine.web_server import HTTP_SERVICE, WebServer
from tests.benchmarks.figure import Figure, Peer
from tests.benchmarks.server import Server
from tests.benchmarks.stored import store
from tests.benchmarks.worlds import layered

_TIMES = 51
_DATASETS = 100_000
_NODES = 300
_COLUMN = "column_7"


@dataclass(frozen=True, slots=True)
class Asked:
    """A dataset in the middle of a lineage, and the number of nodes around it."""

    dataset: str
    nodes: int
    times: int = _TIMES


async def figures(server: Server) -> AsyncIterator[Figure]:
    """300 nodes with columns, the path of a column and states, out of 100,000 datasets.

    The lineage is read before, as by the first request after a deploy.
    """
    asked = Asked(f"dataset_{_DATASETS // 2}", _NODES)
    async with server.database() as database:
        async with database.connection() as conn:
            await store(conn, layered(_DATASETS, 3, 1_000_000))
        operation = await over_the_operation(database, asked)
        http = await over_http(database, asked)
    yield Figure("300 nodes: operation", operation, "ms", 50)
    yield Figure("300 nodes: HTTP", http, "ms", 50, Peer("operation", operation))


async def over_the_operation(database: Database, asked: Asked) -> list[float]:
    """Milliseconds of each call."""
    service, caller = Service(database), await _caller(database)

    async def ask() -> int:
        found = await neighbourhood(
            caller,
            service,
            asked.dataset,
            upstream=100,
            downstream=100,
            limit=asked.nodes,
            with_columns=True,
            column=_COLUMN,
        )
        return len(found.datasets) + len(found.jobs)

    return await _timed(ask, asked)


async def over_http(database: Database, asked: Asked) -> list[float]:
    """Milliseconds of each request, on one connection, with row-level security."""
    key = await _key(database)
    path = f"/api/v1/datasets/{asked.dataset}/neighbourhood"
    params = {"upstream": 100, "downstream": 100, "limit": asked.nodes}
    async with (
        _serving(database) as url,
        httpx2.AsyncClient(
            base_url=url, headers={"Authorization": f"Bearer {key}"}, timeout=60
        ) as client,
    ):

        async def ask() -> int:
            response = await client.get(path, params=params | {"columns": True, "column": _COLUMN})
            found = response.raise_for_status().json()
            return len(found["datasets"]) + len(found["jobs"])

        return await _timed(ask, asked)


async def _timed(ask: Any, asked: Asked) -> list[float]:
    assert await ask() == asked.nodes
    samples = []
    for _ in range(asked.times):
        start = perf_counter()
        await ask()
        samples.append((perf_counter() - start) * 1000)
    return samples


async def _caller(database: Database) -> Caller:
    async with database.connection() as conn:
        return Caller.local(Org(await org_id(conn, "default"), "default"))


async def _key(database: Database) -> str:
    caller, service = await _caller(database), Service(database)
    await add_user(caller, service, "reader@example.com", Role.READER)
    created = await create_key(caller, service, "reader@example.com", "benchmark", (KeyScope.READ,))
    return created.key


@asynccontextmanager
async def _serving(database: Database) -> AsyncIterator[str]:
    async with await TenantDatabase.open(database.url) as tenants:
        app, stop = http_app(Service(tenants)), asyncio.Event()
        server = WebServer(app, "127.0.0.1:0", HTTP_SERVICE)
        async with asyncio.TaskGroup() as group:
            group.create_task(server.run(stop))
            try:
                yield server.url
            finally:
                app.state.feeds.stop()
                stop.set()
