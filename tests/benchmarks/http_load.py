"""A connection of HTTP clients in benchmarks, which costs less than any library for users.

``python -m tests.benchmarks.http_load HOST PORT CONNECTIONS < requests`` sends each request once,
over kept connections with one request in progress at a time. The requests are complete messages,
separated by NUL bytes. Prints the seconds, and the number of responses by status, as JSON.
"""

import asyncio
import json
import re
import sys
from collections import Counter, deque
from time import perf_counter
from typing import Any, cast

import uvloop

_LENGTH = re.compile(rb"\r\ncontent-length: *(\d+)", re.IGNORECASE)


class HttpClient(asyncio.Protocol):
    """A kept connection for one request at a time."""

    _transport: asyncio.Transport
    _response: asyncio.Future[tuple[int, bytes]]
    _received = b""

    @classmethod
    async def connect(cls, host: str, port: int) -> "HttpClient":
        _, client = await asyncio.get_running_loop().create_connection(cls, host, port)
        return client

    async def request(self, message: bytes) -> tuple[int, bytes]:
        """Return the status and the body of the response."""
        self._response = asyncio.get_running_loop().create_future()
        self._transport.write(message)
        return await self._response

    async def post(self, path: str, credential: str, body: Any, **headers: str) -> tuple[int, Any]:
        """Return the status and the decoded body of the response to a post."""
        status, answer = await self.request(post(path, credential, body, **headers))
        return status, json.loads(answer)

    def connection_made(self, transport: asyncio.BaseTransport) -> None:
        self._transport = cast("asyncio.Transport", transport)

    def connection_lost(self, exc: Exception | None) -> None:
        if hasattr(self, "_response") and not self._response.done():
            self._response.set_exception(exc or ConnectionError("the server hung up"))

    def data_received(self, data: bytes) -> None:
        self._received += data
        head, separator, body = self._received.partition(b"\r\n\r\n")
        length = _LENGTH.search(head)
        if separator and len(body) >= int(length[1] if length else 0):
            self._received = b""
            self._response.set_result((int(head[9:12]), body))


def post(path: str, credential: str, body: Any, **headers: str) -> bytes:
    """Return the message of a post."""
    text = json.dumps(body)
    more = "".join(f"{name.replace('_', '-')}: {value}\r\n" for name, value in headers.items())
    return (
        f"POST /api/v1{path} HTTP/1.1\r\nHost: bench\r\nAuthorization: Bearer {credential}\r\n"
        f"Content-Type: application/json\r\n{more}Content-Length: {len(text)}\r\n\r\n{text}"
    ).encode()


async def _send_all(host: str, port: int, connections: int) -> None:
    requests = deque(sys.stdin.buffer.read().split(b"\0"))
    statuses: Counter[int] = Counter()

    async def send(client: HttpClient) -> None:
        while requests:
            status, _ = await client.request(requests.popleft())
            statuses[status] += 1

    clients = [await HttpClient.connect(host, port) for _ in range(connections)]
    start = perf_counter()
    await asyncio.gather(*map(send, clients))
    print(json.dumps({"seconds": perf_counter() - start, "statuses": statuses}))


if __name__ == "__main__":
    uvloop.run(_send_all(sys.argv[1], int(sys.argv[2]), int(sys.argv[3])))
