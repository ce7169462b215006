"""HTTP server of a process, in the event loop of the process: if it is blocked, no answer comes."""

import asyncio
import socket
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass

import h11
import structlog
import uvicorn
from fastapi import FastAPI
from uvicorn.protocols.http.h11_impl import H11Protocol

from engine.errors import InvalidInput, ServiceUnavailable

_log = structlog.get_logger(__name__)
_HEADER_SECONDS = 10.0
_TOO_SLOW = b"HTTP/1.1 408 Request Timeout\r\nconnection: close\r\ncontent-length: 0\r\n\r\n"


@dataclass(frozen=True, slots=True)
class Purpose:
    """The purpose of a server in messages, an example of an address, and the time for last answers.

    ``last_answers_seconds`` is the time after the stop in which requests in progress end.
    """

    name: str
    example: str
    last_answers_seconds: int


MONITOR = Purpose("monitor", "127.0.0.1:9464", 2)
HTTP_SERVICE = Purpose("HTTP service", "127.0.0.1:8321", 25)


class WebServer:
    """Serve an app on an address, ``host:port``; port 0 selects a free port.

    ``proxies`` are the addresses and networks whose header `X-Forwarded-For` names the client.

    Raises InvalidInput for a malformed address, ServiceUnavailable for one in use.
    """

    def __init__(
        self, app: FastAPI, address: str, purpose: Purpose = MONITOR, proxies: str = ""
    ) -> None:
        self._purpose = purpose
        self._server = _Server(
            uvicorn.Config(
                app,
                http=_Protocol,
                log_config=None,
                access_log=False,
                lifespan="off",
                ws="none",
                server_header=False,
                proxy_headers=bool(proxies),
                forwarded_allow_ips=proxies,
                timeout_graceful_shutdown=purpose.last_answers_seconds,
            )
        )
        self._socket = _bound(address, purpose)
        host, port = self._socket.getsockname()[:2]
        self.url = f"http://[{host}]:{port}" if ":" in host else f"http://{host}:{port}"

    async def run(self, stop: asyncio.Event) -> None:
        """Serve until ``stop`` is set."""
        serving = asyncio.create_task(self._server.serve([self._socket]))
        _log.info(f"{self._purpose.name} is up", url=self.url)
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


class _Protocol(H11Protocol):
    """HTTP/1.1 with a time limit for the head of a request, which uvicorn lacks.

    Without the limit, connections that send nothing, or a byte now and then, are held forever.
    """

    _waiting: asyncio.TimerHandle | None = None

    def connection_made(self, transport: asyncio.Transport) -> None:  # type: ignore[override]
        """Begin to wait for the first request."""
        super().connection_made(transport)
        self._wait()

    def data_received(self, data: bytes) -> None:
        """Wait for the rest of a request of which only a part of the head has arrived."""
        super().data_received(data)
        if self.conn.their_state is not h11.IDLE:
            self._stop_waiting()
        elif self._waiting is None:
            self._wait()

    def connection_lost(self, exc: Exception | None) -> None:
        """Stop waiting."""
        self._stop_waiting()
        super().connection_lost(exc)

    def _wait(self) -> None:
        self._waiting = self.loop.call_later(_HEADER_SECONDS, self._give_up)

    def _stop_waiting(self) -> None:
        if self._waiting is not None:
            self._waiting.cancel()
            self._waiting = None

    def _give_up(self) -> None:
        if not self.transport.is_closing():
            self.transport.write(_TOO_SLOW)
            self.transport.close()


def _bound(address: str, purpose: Purpose) -> socket.socket:
    host, _, port = address.rpartition(":")
    try:
        host = host.strip("[]")
        family = socket.AF_INET6 if ":" in host else socket.AF_INET
        return socket.create_server((host, int(port)), family=family)
    except (ValueError, OverflowError, socket.gaierror) as error:
        raise InvalidInput(
            f"{address!r} is no address for the {purpose.name} ({error}): "
            f"give host:port, such as {purpose.example}"
        ) from error
    except OSError as error:
        raise ServiceUnavailable(
            f"the {purpose.name} cannot listen on {address}: {error.strerror}; choose another "
            "port, or stop the process that uses this one"
        ) from error
