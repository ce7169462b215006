"""The monitor's server. It runs in the loop that it tells of: a blocked one does not answer."""

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
    """Serves an app on an address, ``host:port``; port 0 takes any that is free.

    Raises InvalidInput for what is no address, ServiceUnavailable for one that is taken.
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
        _log.info("the monitor is up", url=self.url)
        stopping = asyncio.create_task(stop.wait())
        await asyncio.wait({serving, stopping}, return_when=asyncio.FIRST_COMPLETED)
        stopping.cancel()
        self._server.should_exit = True
        await serving


class _Server(uvicorn.Server):
    @contextmanager
    def capture_signals(self) -> Iterator[None]:
        """Leave the signals to whoever runs the process."""
        yield


def _bound(address: str) -> socket.socket:
    host, _, port = address.rpartition(":")
    try:
        return _listening(host.strip("[]"), int(port))
    except (ValueError, OverflowError, socket.gaierror) as error:
        raise InvalidInput(
            f"the monitor cannot be at {address!r} ({error}): give host:port, as 127.0.0.1:9464"
        ) from error
    except OSError as error:
        raise ServiceUnavailable(
            f"the monitor cannot listen at {address}: {error.strerror}; give another port, or stop "
            "what has it"
        ) from error


def _listening(host: str, port: int) -> socket.socket:
    family = socket.AF_INET6 if ":" in host else socket.AF_INET
    return socket.create_server((host, port), family=family)
