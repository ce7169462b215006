"""A server that keeps the requests that it receives, for tests of notifications."""

import asyncio
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from dataclasses import dataclass, field
from typing import Any

import msgspec
from fastapi import FastAPI, Request, Response

from engine.web_server import HTTP_SERVICE, WebServer


@dataclass
class HttpReceiver:
    """The requests of all paths; each is answered with the next status, at last 204."""

    address: str = ""
    requests: list[tuple[dict[str, str], bytes]] = field(default_factory=list)
    paths: list[str] = field(default_factory=list)
    statuses: list[int] = field(default_factory=list)

    @property
    def url(self) -> str:
        return f"{self.address}/hook"

    @property
    def ids(self) -> list[str]:
        return [headers["webhook-id"] for headers, _ in self.requests]

    @property
    def bodies(self) -> list[Any]:
        return [msgspec.json.decode(body) for _, body in self.requests]

    @property
    def kinds(self) -> list[str]:
        return [body["type"] for body in self.bodies]


@asynccontextmanager
async def receiving() -> AsyncIterator[HttpReceiver]:
    """Run a receiver on a free port."""
    receiver, app, stop = HttpReceiver(), FastAPI(), asyncio.Event()

    @app.post("/{path:path}")
    async def receive(request: Request, path: str) -> Response:
        receiver.requests.append((dict(request.headers), await request.body()))
        receiver.paths.append(path)
        status = receiver.statuses.pop(0) if receiver.statuses else 204
        return Response(status_code=status, headers={"location": "/elsewhere"})

    server = WebServer(app, "127.0.0.1:0", HTTP_SERVICE)
    receiver.address = server.url
    async with asyncio.TaskGroup() as group:
        group.create_task(server.run(stop))
        try:
            yield receiver
        finally:
            stop.set()
