"""Health check of a container: exits with 1 unless its process answers `/healthz` with 200.

Run it as `python -m engine.monitor.probe`.

It asks the process that serves KNOCKON_MONITOR_ADDRESS on this host. Sockets alone, because the
check runs every few seconds and importing an HTTP client takes more CPU than the request.
"""

import os
import socket
import sys

_ANSWER_SECONDS = 4.0
_REQUEST = b"GET /healthz HTTP/1.0\r\nHost: localhost\r\n\r\n"
_ANY_HOST = {"": "127.0.0.1", "0.0.0.0": "127.0.0.1", "::": "::1"}  # noqa: S104 only looked up


def failure(address: str) -> str | None:
    """Reason why the process that serves its health at ``address``, host:port, is not healthy."""
    host, _, port = address.rpartition(":")
    host = host.strip("[]")
    try:
        answer = _answer(_ANY_HOST.get(host, host), int(port))
    except (OSError, ValueError) as error:
        return f"{address}: {error}"
    status, _, body = answer.partition(b"\r\n\r\n")
    if b" 200 " in status.split(b"\r\n")[0]:
        return None
    return (body or answer).decode("utf-8", "replace")


def _answer(host: str, port: int) -> bytes:
    with socket.create_connection((host, port), _ANSWER_SECONDS) as connection:
        connection.sendall(_REQUEST)
        with connection.makefile("rb") as stream:
            return stream.read()


if __name__ == "__main__":
    sys.exit(failure(os.environ.get("KNOCKON_MONITOR_ADDRESS", "")))
