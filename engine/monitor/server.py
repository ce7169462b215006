"""HTTP server of the monitor, in the event loop under observation: if blocked, no answer comes."""

import asyncio
import socket
from collections.abc import Iterator
from contextlib import contextmanager

import structlog
import uvicorn
from fastapi import FastAPI

from engine.errors import InvalidInput, ServiceUnavailable

_log = structlog.get_logger(__name__)
_LAST_ANSWERS_SECONDS = 2


class MonitorServer:
    """Serve an app on an address, ``host:port``; port 0 selects a free port.

    Raises InvalidInput for a malformed address, ServiceUnavailable for one in use.
    """

    def __init__(self, app: FastAPI, address: str) -> None:
        self._server = _Server(
            uvicorn.Config(
                app,
                log_config=None,
                access_log=False,
                lifespan="off",
                ws="none",
                timeout_graceful_shutdown=_LAST_ANSWERS_SECONDS,
            )
        )
        self._socket = _bound(address)
        host, port = self._socket.getsockname()[:2]
        self.url = f"http://[{host}]:{port}" if ":" in host else f"http://{host}:{port}"

    async def run(self, stop: asyncio.Event) -> None:
        """Serve until ``stop`` is set."""
        serving = asyncio.create_task(self._server.serve([self._socket]))
        _log.info("monitor is up", url=self.url)
        stopping = asyncio.create_task(stop.wait())
        await asyncio.wait({serving, stopping}, return_when=asyncio.FIRST_COMPLETED)
        stopping.cancel()
        self._server.should_exit = True
        await serving


class _Server(uvicorn.Server):
    @contextmanager
    def capture_signals(self) -> Iterator[None]:
        """Leave signal handling to the process that embeds the server."""
        yield


def _bound(address: str) -> socket.socket:
    host, _, port = address.rpartition(":")
    try:
        host = host.strip("[]")
        family = socket.AF_INET6 if ":" in host else socket.AF_INET
        return socket.create_server((host, int(port)), family=family)
    except (ValueError, OverflowError, socket.gaierror) as error:
        raise InvalidInput(
            f"{address!r} is no address for the monitor ({error}): "
            "give host:port, such as 127.0.0.1:9464"
        ) from error
    except OSError as error:
        raise ServiceUnavailable(
            f"the monitor cannot listen on {address}: {error.strerror}; choose another port, or "
            "stop the process that uses this one"
        ) from error
