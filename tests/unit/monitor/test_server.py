"""The monitor's server on a separate port."""

import asyncio
import socket

import httpx2
import pytest

from engine.errors import InvalidInput, ServiceUnavailable
from engine.monitor.app import monitor
from engine.web_server import WebServer


async def test_the_server_runs_until_it_is_stopped() -> None:
    server, stop = WebServer(monitor("acme", {}), "127.0.0.1:0"), asyncio.Event()
    running = asyncio.create_task(server.run(stop))
    async with asyncio.timeout(30), httpx2.AsyncClient(base_url=server.url) as client:
        assert (await client.get("/healthz")).status_code == 200
        stop.set()
        await running
        with pytest.raises(httpx2.ConnectError):
            await client.get("/healthz", headers={"connection": "close"})


def test_a_port_in_use_is_reported() -> None:
    with socket.create_server(("127.0.0.1", 0)) as taken:
        port = taken.getsockname()[1]
        with pytest.raises(ServiceUnavailable, match="cannot listen"):
            WebServer(monitor("acme", {}), f"127.0.0.1:{port}")


@pytest.mark.parametrize("address", ["9464x", "", "127.0.0.1:http", "127.0.0.1:99999"])
def test_an_invalid_address_is_rejected(address: str) -> None:
    with pytest.raises(InvalidInput, match="host:port"):
        WebServer(monitor("acme", {}), address)
