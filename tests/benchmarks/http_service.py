"""The HTTP service, beside a bare FastAPI app and the same work at the database."""

import asyncio
import json
import os
import socket
import sys
from asyncio.subprocess import PIPE
from collections.abc import AsyncIterator, Iterator, Sequence
from contextlib import asynccontextmanager
from datetime import date, timedelta
from typing import Any
from uuid import uuid4

from consumers.manual import invalidate
from engine.flow.shared.org_context import OrgContext
from engine.model.event import SourceEvent
from engine.model.states import KeyScope, Role
from engine.service.caller import Caller, Org
from engine.service.commands.api_keys import create_key
from engine.service.commands.users import add_user
from engine.service.service import Service
from engine.store.database import Database
from tests.benchmarks.figure import Figure, Peer, stopwatch
from tests.benchmarks.http_load import post
from tests.benchmarks.server import Server
from tests.benchmarks.stored import store
from tests.benchmarks.throughput import TASKS, drained_per_second, queue
from tests.benchmarks.worlds import star
from tests.support.processes import EXECUTABLE

_POSTS = 4_000
_DIRECT = 500
_CONNECTIONS = 64
_BATCH = 50
_LANES = 16
_ROUNDS = 5
_TARGET = 2_000
_SHARE = 0.5
"""Minimum rate as a share of the rate of the bare app."""


async def figures(server: Server) -> AsyncIterator[Figure]:
    """Single posts, and tasks of workers, each over kept connections."""
    async for figure in _posts(server):
        yield figure
    yield await _tasks(server)


async def _posts(server: Server) -> AsyncIterator[Figure]:
    """Rounds of posts, of posts to the peer, and of direct calls."""
    world = star(10)
    name = world.datasets[0].name
    async with server.database() as database, database.connection() as conn:
        org = await store(conn, world)
        key = await _key(database, org)
        posts, bare, direct = [], [], []
        async with _knockon(database.url) as port, _bare(database.url) as bare_port:
            await _posted(port, key, name, 500)
            await _posted(bare_port, key, name, 500)
            for _ in range(_ROUNDS):
                posts.append(await _posted(port, key, name, _POSTS))
                bare.append(await _posted(bare_port, key, name, _POSTS))
                direct.append(_DIRECT / await stopwatch(_invalidated(database, org, name)))
    peer = Peer("bare FastAPI app", bare)
    yield Figure(f"posts over {_CONNECTIONS} connections", posts, "/s", _TARGET, peer)
    peer = Peer("invalidated directly, one after the other", direct)
    yield Figure("the same", posts, "/s", _SHARE * sorted(bare)[_ROUNDS // 2], peer)


async def _tasks(server: Server) -> Figure:
    """Tasks claimed and completed over HTTP, and by a worker at the database."""
    world, days = star(101), "2013-01-01..2013-04-10"
    async with server.database() as database, database.connection() as conn:
        org = await store(conn, world)
        await conn.execute("UPDATE jobs SET operator = 'remote'")  # `sql` runs at the database
        key = await _key(database, org, KeyScope.WORKER)
        remote, local = [], []
        async with _knockon(database.url) as port:
            for _ in range(_ROUNDS):
                await queue(conn, org, world, days)
                remote.append(await _drained(port, key))
                await queue(conn, org, world, days)
                local.append(await drained_per_second(database.url, _BATCH, workers=1))
    peer = Peer("a worker at the database", local)
    return Figure(f"tasks claimed by {_BATCH} and completed one by one", remote, "/s", None, peer)


async def _drained(port: int, key: str) -> float:
    """Return the tasks per second of a worker process over HTTP."""
    args = ["127.0.0.1", port, key, _BATCH, _LANES]
    output = await _output_of("tests.benchmarks.http_drain", *args)
    assert output["completed"] == TASKS, output
    return TASKS / float(output["seconds"])


async def _output_of(module: str, *args: object, stdin: bytes = b"") -> Any:
    """Return what a client process prints."""
    process = await asyncio.create_subprocess_exec(
        sys.executable, "-m", module, *map(str, args), stdin=PIPE, stdout=PIPE
    )
    output, _ = await process.communicate(stdin)
    assert process.returncode == 0, module
    return json.loads(output)


async def _key(database: Database, org: OrgContext, scope: KeyScope = KeyScope.INGEST) -> str:
    caller, service = Caller.local(Org(org.id, "default")), Service(database)
    await add_user(caller, service, "bench@example.com", Role.WRITER)
    created = await create_key(caller, service, "bench@example.com", "bench", [scope])
    return created.key


async def _posted(port: int, key: str, dataset: str, count: int) -> float:
    """Post changes from a process of its own; return the posts per second."""
    requests = b"\0".join(_requests(key, dataset, count))
    args = ["127.0.0.1", port, _CONNECTIONS]
    result = await _output_of("tests.benchmarks.http_load", *args, stdin=requests)
    assert result["statuses"] == {"201": count}, result
    return count / float(result["seconds"])


def _requests(key: str, dataset: str, count: int) -> Iterator[bytes]:
    for number in range(count):
        body = {"dataset": dataset, "partitions": [_day(number)]}
        yield post("/invalidations", key, body, Idempotency_Key=uuid4().hex)


def _day(number: int) -> str:
    return (date(2013, 1, 1) + timedelta(days=number % 100)).isoformat()


async def _invalidated(database: Database, org: OrgContext, dataset: str) -> None:
    async with database.connection() as conn:
        for number in range(_DIRECT):
            event = SourceEvent(dataset=dataset, partitions=(_day(number),), id=uuid4().hex)
            await invalidate(conn, org, event)


@asynccontextmanager
async def _knockon(url: str) -> AsyncIterator[int]:
    port = _free_port()
    command = [EXECUTABLE, "serve", "--database-url", url, "--listen", f"127.0.0.1:{port}"]
    async with _serving([*command, "--log-level", "error"], port, KNOCKON_HTTP_RATE="1e6"):
        yield port


@asynccontextmanager
async def _bare(url: str) -> AsyncIterator[int]:
    port = _free_port()
    async with _serving([sys.executable, "-m", "tests.benchmarks.bare_service", url, port], port):
        yield port


@asynccontextmanager
async def _serving(command: Sequence[object], port: int, **settings: str) -> AsyncIterator[None]:
    """Run a service until it accepts connections, and then until the end of the block."""
    environment = {**os.environ, **settings}
    process = await asyncio.create_subprocess_exec(*map(str, command), env=environment)
    try:
        while not await _accepts(port):
            assert process.returncode is None, command
            await asyncio.sleep(0.1)
        yield
    finally:
        process.terminate()
        await process.wait()


async def _accepts(port: int) -> bool:
    try:
        _, writer = await asyncio.open_connection("127.0.0.1", port)
    except ConnectionError:
        return False
    writer.close()
    return True


def _free_port() -> int:
    with socket.create_server(("127.0.0.1", 0)) as server:
        return int(server.getsockname()[1])
