"""Detection of poolers in transaction mode, and of addresses of different databases.

Without a pooler, the number of the session's process as reported at the connection is the one that
the server reports; poolers invent a number.
"""

import asyncio
from collections.abc import Awaitable, Callable
from dataclasses import dataclass

from psycopg import AsyncConnection
from psycopg.rows import DictRow

_Connection = AsyncConnection[DictRow]
_ROUNDS = 5
_PROBE_SECONDS = 3.0
# Any role may call these functions. Two servers start at the same microsecond practically never,
# not even copies of one server, which share the system identifier and the oids of databases.
_SESSION = """
SELECT pg_catalog.pg_backend_pid() AS pid, pg_catalog.current_database() AS database,
    extract(epoch FROM pg_catalog.pg_postmaster_start_time())::pg_catalog.text AS server"""


@dataclass(frozen=True, slots=True)
class Session:
    """A session of a server: its process, its database, and the start time of the server."""

    pid: int
    database: str
    server: str

    def has_database_of(self, other: "Session") -> bool:
        """Return whether both sessions have the same database of the same server."""
        return (self.database, self.server) == (other.database, other.server)


async def session_of(connection: _Connection) -> Session:
    """Return the session that a statement reaches."""
    cursor = await connection.execute(_SESSION, prepare=False)
    (row,) = await cursor.fetchall()
    return Session(**row)


async def own_session(
    connection: _Connection, connect: Callable[[], Awaitable[_Connection]]
) -> Session | None:
    """Return the session of a connection; None if a pooler gives each transaction another one.

    ``connect`` opens another connection to the same address, which is necessary behind a pooler
    only.
    """
    session = await session_of(connection)
    if session.pid == connection.info.backend_pid:
        return session
    try:
        async with asyncio.timeout(_PROBE_SECONDS), await connect() as other:
            return None if await _share_sessions(connection, other) else session
    except TimeoutError:
        return session  # in session mode, a connection waits for a free session of the pool


async def _share_sessions(first: _Connection, second: _Connection) -> bool:
    """Return whether two connections had the same session, or one of them changed its session.

    Repeated, because other clients may take a session as soon as it is free.
    """
    session = await session_of(first)
    for _ in range(_ROUNDS):
        if await session_of(second) == session or await session_of(first) != session:
            return True
    return False
