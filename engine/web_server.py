"""HTTP server of a process, in the event loop of the process: if it is blocked, no answer comes."""

import asyncio
import socket
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass

import structlog
import uvicorn
from fastapi import FastAPI
from uvicorn.protocols.http.httptools_impl import HttpToolsProtocol

from engine.errors import InvalidInput, ServiceUnavailable

_log = structlog.get_logger(__name__)
_HEADER_SECONDS = 10.0
_MOST_HEADER_BYTES = 64 * 1024
_CLOSE = b"connection: close\r\ncontent-length: 0\r\n\r\n"
_TOO_SLOW = b"HTTP/1.1 408 Request Timeout\r\n" + _CLOSE
_NOT_READ = (
    b'{"type":"urn:knockon:problem:malformed_request","title":"Malformed request","status":400,'
    b'"detail":"the request cannot be read: send HTTP/1.1, with an address of less than 64 KiB"}'
)
_MALFORMED = (
    b"HTTP/1.1 400 Bad Request\r\nconnection: close\r\ncontent-type: application/problem+json\r\n"
    b"content-length: %d\r\n\r\n%b" % (len(_NOT_READ), _NOT_READ)
)
_TOO_LARGE = b"HTTP/1.1 431 Request Header Fields Too Large\r\n" + _CLOSE


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


class _Protocol(HttpToolsProtocol):
    """HTTP/1.1 with limits of time and size for the head of a request, which uvicorn lacks.

    Without them, connections that send nothing, or a byte now and then, are held forever, and a
    head without an end fills the memory.
    """

    _waiting: asyncio.TimerHandle | None = None
    _head_bytes = 0

    def connection_made(self, transport: asyncio.Transport) -> None:  # type: ignore[override]
        """Begin to wait for the first request."""
        super().connection_made(transport)
        self._wait()

    def data_received(self, data: bytes) -> None:
        """Count the bytes of a head that has not ended."""
        super().data_received(data)
        if self._waiting is not None:
            self._head_bytes += len(data)
            if self._head_bytes > _MOST_HEADER_BYTES:
                self._give_up(_TOO_LARGE)

    def on_message_begin(self) -> None:
        """Wait for the rest of a request of which only a part of the head has arrived."""
        super().on_message_begin()
        if self._waiting is None:
            self._wait()

    def on_headers_complete(self) -> None:
        """Stop waiting."""
        self._stop_waiting()
        super().on_headers_complete()

    def connection_lost(self, exc: Exception | None) -> None:
        """Stop waiting."""
        self._stop_waiting()
        super().connection_lost(exc)

    def send_400_response(self, msg: str) -> None:
        """Respond to what is no request of HTTP, or has an address that is too long."""
        self._give_up(_MALFORMED)

    def _wait(self) -> None:
        self._head_bytes = 0
        self._waiting = self.loop.call_later(_HEADER_SECONDS, self._give_up, _TOO_SLOW)

    def _stop_waiting(self) -> None:
        if self._waiting is not None:
            self._waiting.cancel()
            self._waiting = None

    def _give_up(self, response: bytes) -> None:
        if not self.transport.is_closing():
            self.transport.write(response)
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
