"""A client process: ``python -m tests.benchmarks.http_load HOST PORT CONNECTIONS < requests``.

The requests are complete messages, separated by NUL bytes. Each is sent once, over kept connections
with one request in progress at a time. Prints the seconds, and the number of responses by status,
as JSON.
"""

import asyncio
import json
import re
import sys
from collections import Counter, deque
from time import perf_counter
from typing import cast

import uvloop

_LENGTH = re.compile(rb"\r\ncontent-length: *(\d+)", re.IGNORECASE)


class _Client(asyncio.Protocol):
    """A connection that sends the next request when a response is complete."""

    def __init__(self, requests: deque[bytes], statuses: Counter[int]) -> None:
        self._requests = requests
        self._statuses = statuses
        self._received = b""
        self.done: asyncio.Future[None] = asyncio.get_running_loop().create_future()

    def connection_made(self, transport: asyncio.BaseTransport) -> None:
        self._transport = cast("asyncio.Transport", transport)

    def connection_lost(self, exc: Exception | None) -> None:
        if not self.done.done():
            self.done.set_exception(exc or ConnectionError("the server closed the connection"))

    def send(self) -> None:
        if self._requests:
            self._transport.write(self._requests.popleft())
        else:
            self.done.set_result(None)

    def data_received(self, data: bytes) -> None:
        self._received += data
        head, separator, body = self._received.partition(b"\r\n\r\n")
        length = _LENGTH.search(head)
        if separator and len(body) >= int(length[1] if length else 0):
            self._statuses[int(head[9:12])] += 1
            self._received = b""
            self.send()


async def _main(host: str, port: int, connections: int) -> None:
    requests = deque(sys.stdin.buffer.read().split(b"\0"))
    statuses: Counter[int] = Counter()
    loop = asyncio.get_running_loop()
    clients = [
        (await loop.create_connection(lambda: _Client(requests, statuses), host, port))[1]
        for _ in range(connections)
    ]
    start = perf_counter()
    for client in clients:
        client.send()
    await asyncio.gather(*(client.done for client in clients))
    print(json.dumps({"seconds": perf_counter() - start, "statuses": statuses}))


if __name__ == "__main__":
    uvloop.run(_main(sys.argv[1], int(sys.argv[2]), int(sys.argv[3])))
