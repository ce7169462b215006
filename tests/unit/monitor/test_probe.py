"""The health check of a container, against real servers."""

import asyncio
import os
import socket
import subprocess
import sys
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager

import pytest
from fastapi import FastAPI, Response

from engine.monitor.app import monitor
from engine.monitor.probe import failure
from engine.web_server import WebServer


@asynccontextmanager
async def serving(app: FastAPI) -> AsyncIterator[str]:
    server, stop = WebServer(app, "0.0.0.0:0"), asyncio.Event()
    running = asyncio.create_task(server.run(stop))
    try:
        yield server.url.removeprefix("http://")
    finally:
        stop.set()
        await running


async def test_a_healthy_process_passes_and_a_stopped_one_fails() -> None:
    async with serving(monitor("acme", {})) as address:
        assert await asyncio.to_thread(failure, address) is None
    assert "refused" in str(await asyncio.to_thread(failure, address))


async def test_an_unhealthy_process_fails_with_its_own_reason() -> None:
    app = FastAPI()

    @app.get("/healthz")
    async def healthz() -> Response:
        return Response("plan has not completed a cycle for 900 seconds", 503)

    async with serving(app) as address:
        assert (
            await asyncio.to_thread(failure, address)
            == "plan has not completed a cycle for 900 seconds"
        )


def test_a_frozen_process_fails(monkeypatch: pytest.MonkeyPatch) -> None:
    """The kernel accepts connections for a stopped process."""
    monkeypatch.setattr("engine.monitor.probe._ANSWER_SECONDS", 0.2)
    with socket.create_server(("127.0.0.1", 0)) as frozen:
        assert "timed out" in str(failure(f"127.0.0.1:{frozen.getsockname()[1]}"))


@pytest.mark.parametrize("address", ["", "localhost", "127.0.0.1:http"])
def test_an_address_without_a_port_fails(address: str) -> None:
    assert failure(address) is not None


async def test_the_command_exits_with_the_verdict_and_imports_no_package() -> None:
    """Every import adds to the cost of a check that runs every ten seconds."""
    script = "import runpy, sys; sys.argv = ['probe']\n"
    script += "try: runpy.run_module('engine.monitor.probe', run_name='__main__')\n"
    script += "finally: print(*sys.modules)"
    async with serving(monitor("acme", {})) as address:
        done = await asyncio.to_thread(_run, script, address)
    assert done.returncode == 0, done.stderr
    assert {"socket", "engine.monitor"} <= set(done.stdout.split())
    assert not {"asyncio", "http.client", "pydantic", "fastapi"} & set(done.stdout.split())
    assert (await asyncio.to_thread(_run, script, address)).returncode == 1


def _run(script: str, address: str) -> "subprocess.CompletedProcess[str]":
    env = os.environ | {"KNOCKON_MONITOR_ADDRESS": address}
    return subprocess.run(
        [sys.executable, "-c", script], env=env, capture_output=True, text=True, check=False
    )
