"""The consumer's own connection to a source, and how to find out that it leads nowhere."""

import asyncio
import os
import socket
from collections.abc import Callable, Iterator
from contextlib import AbstractContextManager, contextmanager, suppress
from typing import Any

import psycopg
from psycopg import AsyncConnection

Guard = Callable[[], AbstractContextManager[None]]
"""Breaks a connection whose answer to what the body asks takes too long."""

_CONNECT: dict[str, Any] = {
    "autocommit": True,  # an open transaction here would keep the source from cleaning up
    "application_name": "knockon",
    "connect_timeout": 5,
    # a peer that vanished without a word is noticed within ten seconds, whether it owes us an
    # answer (keepalives) or the receipt of what we sent (the user timeout, in milliseconds)
    "keepalives_idle": 4,
    "keepalives_interval": 2,
    "keepalives_count": 3,
    "tcp_user_timeout": 10_000,
}


async def connect(url: str) -> AsyncConnection[Any]:
    """Connect directly, for LISTEN. Raises psycopg's errors."""
    connection = await AsyncConnection.connect(url, **_CONNECT)
    # no function or operator that somebody has put into a schema on the path is ever called
    await connection.execute("SET search_path = pg_catalog, pg_temp")
    return connection


@contextmanager
def hanging_up_after(connection: AsyncConnection[Any], seconds: float) -> Iterator[None]:
    """Break the connection if the body takes longer; then the body raises OperationalError.

    To cancel it instead would be to ask the server, by the same network, and to wait for it.
    """
    timer = asyncio.get_running_loop().call_later(seconds, _hang_up, connection)
    try:
        yield
    finally:
        timer.cancel()


def _hang_up(connection: AsyncConnection[Any]) -> None:
    with (
        suppress(OSError, psycopg.Error),
        socket.socket(fileno=os.dup(connection.fileno())) as line,
    ):
        line.shutdown(socket.SHUT_RDWR)
