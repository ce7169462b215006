"""The consumer's connection to a source, and the detection of a dead one."""

import asyncio
import os
import socket
from collections.abc import Callable, Iterator
from contextlib import AbstractContextManager, contextmanager, suppress
from typing import Any

import psycopg
from psycopg import AsyncConnection

TimeLimit = Callable[[], AbstractContextManager[None]]
"""A context that breaks the connection if the queries in its body take too long."""

_CONNECT: dict[str, Any] = {
    "autocommit": True,  # an open transaction would block vacuum in the source
    "application_name": "knockon",
    "connect_timeout": 5,
    # A dead peer is detected within ten seconds, both while waiting for a response (keepalives) and
    # while sending (the user timeout, in milliseconds).
    "keepalives_idle": 4,
    "keepalives_interval": 2,
    "keepalives_count": 3,
    "tcp_user_timeout": 10_000,
}
ANSWER_SECONDS = 10.0
"""Time limit of queries that need no more than milliseconds."""


async def connect(url: str, seconds: float = ANSWER_SECONDS) -> AsyncConnection[Any]:
    """Connect directly, for LISTEN; ``seconds`` limit the first query. Raises psycopg's errors."""
    connection = await AsyncConnection.connect(url, **_CONNECT)
    try:
        with disconnect_after(connection, seconds):
            # Functions and operators that other roles created in schemas on the path are never
            # called.
            await connection.execute("SET search_path = pg_catalog, pg_temp")
    except BaseException:
        await connection.close()
        raise
    return connection


@contextmanager
def disconnect_after(connection: AsyncConnection[Any], seconds: float) -> Iterator[None]:
    """Break the connection if the body takes longer; then the body raises OperationalError.

    A cancel request would go over the same network and could hang as well.
    """
    timer = asyncio.get_running_loop().call_later(seconds, _shut_down_socket, connection)
    try:
        yield
    finally:
        timer.cancel()


def _shut_down_socket(connection: AsyncConnection[Any]) -> None:
    with (
        suppress(OSError, psycopg.Error),
        socket.socket(fileno=os.dup(connection.fileno())) as line,
    ):
        line.shutdown(socket.SHUT_RDWR)
