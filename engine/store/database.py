"""Access to PostgreSQL: a pool of connections that survives outages of the server.

Connections are in autocommit mode and return rows as dicts; `transaction()` is explicit. Sessions
have fixed settings (`session.py`); JSON is encoded and decoded by msgspec.

With a direct address, the other address is a pooler in transaction mode (PgBouncer): a session
there lasts for a transaction. What needs a session of its own connects directly: listening,
statements from outside the engine, and locks beyond a transaction.
"""

import select
from collections.abc import AsyncIterator, Awaitable, Callable
from contextlib import asynccontextmanager
from functools import partial
from math import ceil
from time import monotonic
from typing import Any, Self, TypeVar
from uuid import UUID

import msgspec
import psycopg
import structlog
from psycopg import AsyncConnection
from psycopg.rows import DictRow, dict_row
from psycopg.types.json import set_json_dumps, set_json_loads
from psycopg_pool import AsyncConnectionPool

from engine.errors import ServiceUnavailable
from engine.retries import retrying
from engine.store.addresses import DIRECT_URL, Address, is_hopeless
from engine.store.outages import is_transient
from engine.store.poolers import Session, own_session, session_of
from engine.store.session import (
    apply_settings,
    clean_or_close,
    count_prepared,
    other_settings,
    role_statements,
)
from engine.store.text import encode_json
from engine.store.turns import Turns

T = TypeVar("T")
Connection = AsyncConnection[DictRow]

_log = structlog.get_logger(__name__)

_CONNECT: dict[str, Any] = {
    "autocommit": True,
    "row_factory": dict_row,
    "application_name": "knockon",
    "connect_timeout": 5,
    # A peer that vanished silently is detected after 10 + 3 * 5 seconds.
    "keepalives_idle": 10,
    "keepalives_interval": 5,
    "keepalives_count": 3,
    # TCP sends no keepalives while sent data is unacknowledged; this timeout (in milliseconds)
    # applies instead.
    "tcp_user_timeout": 25_000,
}
PATIENCE_SECONDS = 60.0
"""How long a starting process waits for an unavailable database."""
_LONGEST_WAIT_SECONDS = 5.0
_IDLE_SECONDS = 60.0
"""Time after which the pool closes a connection that no burst of work needs any longer."""


class Database:
    """An open connection pool; created by `Database.open`, and released by `close`.

    ``direct_url`` is the address without a pooler, by default the same as ``url``.
    """

    connection_class: type[Connection] = AsyncConnection[DictRow]

    def __init__(
        self,
        url: str,
        pool: AsyncConnectionPool[Connection],
        direct_url: str | None = None,
        direct_pool: AsyncConnectionPool[Connection] | None = None,
    ) -> None:
        self.url = url
        self.direct_url = direct_url or url
        self._pool = pool
        self._direct_pool = direct_pool or pool
        self.turns = Turns(pool.max_size, pool.timeout)

    @classmethod
    async def open(
        cls,
        url: str,
        *,
        direct_url: str | None = None,
        min_size: int = 1,
        max_size: int = 10,
        retry: bool = True,
    ) -> Self:
        """Connect; with `retry`, wait up to a minute for an unavailable database.

        Raises ServiceUnavailable after that, or immediately if waiting cannot help: see
        `require_addresses`.
        """
        address, patience = Address(url), PATIENCE_SECONDS if retry else 0.0
        await require_addresses(url, direct_url, patience)
        if direct_url is None:
            pool = cls._new_pool(url, min_size, max_size, cls.configure)
            await pool.open()
            return cls(url, pool)
        await _reached(address, patience, partial(_require_role_settings, address))
        # Servers behind a pooler change between transactions, and have no prepared statements.
        pool = cls._new_pool(url, min_size, max_size, _configure_json, prepare_threshold=None)
        direct_pool = cls._new_pool(direct_url, 0, max_size, cls.configure)
        await pool.open()
        await direct_pool.open()
        return cls(url, pool, direct_url, direct_pool)

    @property
    def has_pooler(self) -> bool:
        """Return True if transactions pass through a pooler."""
        return self.direct_url != self.url

    async def close(self) -> None:
        """Close every connection of the pools."""
        await self._pool.close()
        if self._direct_pool is not self._pool:
            await self._direct_pool.close()

    async def __aenter__(self) -> Self:
        return self

    async def __aexit__(self, *_: object) -> None:
        await self.close()

    @asynccontextmanager
    async def connection(self) -> AsyncIterator[Connection]:
        """Lend a connection on which every statement commits by itself.

        Raises psycopg's errors (see `is_transient`), and PoolTimeout if no connection is free
        within 10 seconds.
        """
        async with _lent(self._pool) as connection:
            yield connection

    @asynccontextmanager
    async def org_connection(self, org_id: UUID) -> AsyncIterator[Connection]:
        """Lend a connection for work on an org, in fair turns with other orgs.

        See `engine.store.tenancy` for restricted ones. Raises as `connection` does.
        """
        async with self.turns.turn(org_id), self.connection() as connection:
            yield connection

    @asynccontextmanager
    async def direct_connection(self) -> AsyncIterator[Connection]:
        """Lend a connection with a session of its own, even if there is a pooler."""
        async with _lent(self._direct_pool) as connection:
            yield connection

    @asynccontextmanager
    async def transaction(self) -> AsyncIterator[Connection]:
        """Lend a connection for one transaction, rolled back when an exception leaves it."""
        async with self.connection() as connection, connection.transaction():
            yield connection

    @asynccontextmanager
    async def foreign_transaction(self) -> AsyncIterator[Connection]:
        """Lend a connection for one transaction with statements from outside the engine.

        Such statements may change the session in ways that neither a rollback nor a commit undoes,
        and deferred triggers run as late as the commit. Hence the session is cleaned after the
        commit, or closed if that is impossible or an exception leaves the transaction.
        """
        async with self.direct_connection() as connection:
            try:
                async with connection.transaction():
                    yield connection
                    prepared = await count_prepared(connection)
            except BaseException:
                await connection.close()
                raise
            await clean_or_close(connection, prepared)

    async def listen_connection(self) -> Connection:
        """Open a connection outside the pool, for LISTEN; the caller closes it."""
        return await open_connection(self.direct_url)

    @staticmethod
    async def configure(connection: Connection) -> None:
        """Prepare a new connection that has a session of its own."""
        await _configure_json(connection)
        await connection.execute(apply_settings(connection))

    @classmethod
    def _new_pool(
        cls,
        url: str,
        min_size: int,
        max_size: int,
        configure: Callable[[Connection], Awaitable[None]],
        **options: Any,
    ) -> AsyncConnectionPool[Connection]:
        return AsyncConnectionPool[Connection](
            url,
            connection_class=cls.connection_class,
            kwargs=_CONNECT | options,
            min_size=min_size,
            max_size=max_size,
            timeout=_LONGEST_WAIT_SECONDS * 2,
            max_idle=_IDLE_SECONDS,
            reconnect_timeout=_LONGEST_WAIT_SECONDS,  # the next checkout retries
            configure=configure,
            open=False,
        )


@asynccontextmanager
async def _lent(pool: AsyncConnectionPool[Connection]) -> AsyncIterator[Connection]:
    """Lend a connection, discarding those that died in the pool during an outage."""
    while _has_hung_up(connection := await pool.getconn()):
        await connection.close()
        await pool.putconn(connection)
    try:
        yield connection
    finally:
        await pool.putconn(connection)


async def open_connection(url: str) -> Connection:
    """Open a single connection configured like those of the pool; the caller closes it."""
    connection = await _connect(url)
    await Database.configure(connection)
    return connection


async def set_role_settings(url: str, direct_url: str) -> None:
    """Give all new sessions behind a pooler Knockon's settings, as settings of their role."""
    role = Address(url).parameters().get("user")
    connection = await _connect(direct_url)
    try:
        async with connection.transaction():
            for statement in await role_statements(connection, role):
                await connection.execute(statement.encode())
    finally:
        await connection.close()


async def wait_for_database(url: str, patience: float) -> None:
    """Wait for the database; raises ServiceUnavailable after `patience` seconds."""
    await _reached(Address(url), patience, session_of)


async def require_addresses(url: str, direct_url: str | None = None, patience: float = 0.0) -> None:
    """Wait for the database at both addresses, and check that they suit Knockon.

    Raises ServiceUnavailable after `patience` seconds, or if sessions of the direct address
    (default: the only one) last for a transaction, or if the addresses are of different databases.
    """
    address = Address(url)
    if direct_url is None:
        await _reached(address, patience, partial(_require_own_session, address))
        return
    direct = Address(direct_url, DIRECT_URL)
    session = await _reached(direct, patience, partial(_require_own_session, direct))
    other = await _reached(address, patience, session_of)
    if not session.has_database_of(other):
        raise ServiceUnavailable(
            f"{address.setting} ({address}) and {direct.setting} ({direct}) lead to different "
            f"databases: set {direct.setting} to the address of the same database without the "
            "pooler"
        )


async def reconnecting(
    work: Callable[[], Awaitable[T]], *, what: str, seconds: float | None = None
) -> T:
    """Run `work`, retrying transient errors with growing delays of up to 5 seconds.

    Retries end after ``seconds``; default: never. `work` must be idempotent, because it may have
    committed before the connection was lost.
    """
    attempts = retrying(is_transient, seconds=seconds, longest_wait=_LONGEST_WAIT_SECONDS)
    async for attempt in attempts:
        with attempt:
            try:
                return await work()
            except psycopg.Error as error:
                if is_transient(error):
                    _log.warning("interrupted by the database, retrying", what=what, why=str(error))
                raise
    raise AssertionError("retries without limit have no end")


async def _connect(url: str) -> Connection:
    return await AsyncConnection[DictRow].connect(url, **_CONNECT)


async def _reached(
    address: Address, patience: float, check: Callable[[Connection], Awaitable[T]]
) -> T:
    """Connect and check the connection, retrying for `patience` seconds.

    A pooler accepts connections while the server is away, and lets the first statement fail.
    Raises ServiceUnavailable.
    """
    deadline = monotonic() + patience
    attempts = retrying(
        _worth_waiting,
        attempts=None if patience else 1,
        seconds=patience or None,
        longest_wait=_LONGEST_WAIT_SECONDS,
    )
    try:
        async for attempt in attempts:
            with attempt:
                return await _knock(address, check, deadline)
    except psycopg.Error as error:
        raise ServiceUnavailable("; ".join(address.failure(error))) from error
    raise AssertionError("the last attempt returns or raises")


async def _knock(
    address: Address, check: Callable[[Connection], Awaitable[T]], deadline: float
) -> T:
    try:
        async with await _connect(address.url) as connection:
            return await check(connection)
    except psycopg.Error as error:
        if _worth_waiting(error) and monotonic() < deadline:
            _report_wait(address, error, deadline)
        raise


def _report_wait(address: Address, error: psycopg.Error, deadline: float) -> None:
    """Log the failure with the remaining time in tens, since equal lines are held back."""
    problem, remedy = address.failure(error)
    seconds = ceil((deadline - monotonic()) / 10) * 10
    _log.warning(f"{problem}; waiting for up to {seconds} more seconds", remedy=remedy)


def _worth_waiting(error: BaseException) -> bool:
    return is_transient(error) and not is_hopeless(error)


async def _require_own_session(address: Address, connection: Connection) -> Session:
    """Return the session. Raises ServiceUnavailable behind a pooler in transaction mode."""
    session = await own_session(connection, lambda: _connect(address.url))
    if session is None:
        raise ServiceUnavailable(
            f"{address.setting} ({address}) is a pooler in transaction mode, where a session lasts "
            f"for one transaction: set {DIRECT_URL} to the address of the database without a pooler"
        )
    return session


async def _configure_json(connection: Connection) -> None:
    set_json_dumps(encode_json, connection)
    set_json_loads(msgspec.json.decode, connection)


async def _require_role_settings(address: Address, connection: Connection) -> None:
    """Raise ServiceUnavailable if sessions behind a pooler have other settings than Knockon's."""
    async with connection.transaction():
        others = await other_settings(connection)
        statements = "; ".join(await role_statements(connection))
    if others:
        raise ServiceUnavailable(
            f"sessions behind the pooler {address} have another {', '.join(others)} than "
            "Knockon needs: run 'knockon migrate', which sets them for the role, or execute: "
            f"{statements}. Then have the pooler open new connections: RECONNECT in PgBouncer"
        )


def _has_hung_up(connection: Connection) -> bool:
    """Return whether the server closed an idle connection, without a round trip.

    The server sends nothing on an idle connection, so readable data or EOF means a shutdown.
    """
    return bool(select.select([connection.fileno()], [], [], 0)[0])
