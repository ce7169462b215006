"""The way to PostgreSQL: a pool of connections that outlives the server's outages.

Connections are in autocommit mode and give rows as dicts; `transaction()` is explicit. Sessions
are in UTC and find built-in objects only, unless the address sets a search path of its own (in
`options`); JSON goes through msgspec.
"""

import select
from collections.abc import AsyncIterator, Awaitable, Callable
from contextlib import asynccontextmanager
from typing import Any, Self, TypeVar

import msgspec
import psycopg
import structlog
from psycopg import AsyncConnection, sql
from psycopg.conninfo import conninfo_to_dict
from psycopg.rows import DictRow, dict_row
from psycopg.types.json import set_json_dumps, set_json_loads
from psycopg_pool import AsyncConnectionPool, PoolClosed

from engine.errors import InvalidInput, ServiceUnavailable
from engine.retries import retrying
from engine.store.text import encode_json

T = TypeVar("T")
Connection = AsyncConnection[DictRow]

_log = structlog.get_logger(__name__)

_CONNECT: dict[str, Any] = {
    "autocommit": True,
    "row_factory": dict_row,
    "application_name": "knockon",
    "connect_timeout": 5,
    # a peer that vanished without a word is noticed after 10 + 3 * 5 seconds
    "keepalives_idle": 10,
    "keepalives_interval": 5,
    "keepalives_count": 3,
    # and as soon where it owes us the receipt of what we sent, when TCP asks nothing; milliseconds
    "tcp_user_timeout": 25_000,
}
# A process that is frozen in the middle of a transaction may not keep its locks from the others.
# Texts of values are keys, and must be those that capture triggers write, whatever the defaults of
# the database or the role.
_SESSION = sql.SQL(
    "SELECT pg_catalog.set_config('TimeZone', 'UTC', false),"
    " pg_catalog.set_config('DateStyle', 'ISO', false),"
    " pg_catalog.set_config('IntervalStyle', 'postgres', false),"
    " pg_catalog.set_config('bytea_output', 'hex', false),"
    " pg_catalog.set_config('extra_float_digits', '1', false),"
    " pg_catalog.set_config('idle_in_transaction_session_timeout', '1min', false)"
)
# Every statement qualifies the tables it names; this keeps functions, operators and types that
# others create in `public` or as temporary objects from being preferred to the built-in ones.
_SEARCH_PATH = sql.SQL(", pg_catalog.set_config('search_path', 'pg_catalog, pg_temp', false)")
# No rollback and no commit removes what a statement of somebody else leaves in a session. RESET
# comes first, and no name is looked up before it.
_CLEAN = sql.SQL("""RESET ALL;
{settings};
CLOSE ALL;
UNLISTEN *;
DISCARD TEMP;
SELECT pg_catalog.pg_advisory_unlock_all(),
    EXISTS (SELECT FROM pg_catalog.pg_prepared_statements WHERE from_sql) AS prepared""")
COUNT_PREPARED = sql.SQL(
    "SELECT pg_catalog.count(*) AS number FROM pg_catalog.pg_prepared_statements WHERE NOT from_sql"
)
"""The number of statements that the driver, not a statement of SQL, has prepared."""
_PATIENCE_SECONDS = 60.0
_LONGEST_WAIT_SECONDS = 5.0
_AWAY = {
    "57P01",  # admin shutdown
    "57P02",  # crash shutdown
    "57P03",  # cannot connect now: starting up or shutting down
    "57P05",  # idle session timeout
    "25P03",  # idle in transaction timeout
    "53300",  # too many connections
    "25006",  # read only: a failover left us with the standby
    "40001",  # serialization failure
    "40P01",  # deadlock
}
_HOPELESS = ("authentication failed", "does not exist", "no pg_hba.conf entry", "invalid port")


class Database:
    """An open pool; make one with `Database.open`, and `close` it."""

    def __init__(self, url: str, pool: AsyncConnectionPool[Connection]) -> None:
        self.url = url
        self._pool = pool

    @classmethod
    async def open(
        cls, url: str, *, min_size: int = 1, max_size: int = 10, retry: bool = True
    ) -> Self:
        """Connect; with `retry`, wait up to a minute for a database that is away.

        Raises ServiceUnavailable when it stays away, or at once when waiting cannot help.
        """
        await wait_for_database(url, _PATIENCE_SECONDS if retry else 0.0)
        pool = AsyncConnectionPool[Connection](
            url,
            kwargs=_CONNECT,
            min_size=min_size,
            max_size=max_size,
            timeout=_LONGEST_WAIT_SECONDS * 2,
            reconnect_timeout=_LONGEST_WAIT_SECONDS,  # then it tries again when next asked
            configure=_configure,
            open=False,
        )
        await pool.open()
        return cls(url, pool)

    async def close(self) -> None:
        """Close every connection of the pool."""
        await self._pool.close()

    async def __aenter__(self) -> Self:
        return self

    async def __aexit__(self, *_: object) -> None:
        await self.close()

    @asynccontextmanager
    async def connection(self) -> AsyncIterator[Connection]:
        """Lend a connection on which every statement commits by itself.

        Raises psycopg's errors; see `is_transient`. PoolTimeout when none is free in 10 seconds.
        """
        connection = await self._checkout()
        try:
            yield connection
        finally:
            await self._pool.putconn(connection)

    @asynccontextmanager
    async def transaction(self) -> AsyncIterator[Connection]:
        """Lend a connection for one transaction, rolled back when an exception leaves it."""
        async with self.connection() as connection, connection.transaction():
            yield connection

    @asynccontextmanager
    async def foreign_transaction(self) -> AsyncIterator[Connection]:
        """Lend a connection for one transaction that runs statements of somebody else.

        Those may change the session in ways that neither a rollback nor a commit undoes, and
        triggers that are deferred run as late as the commit. So the session is cleaned after the
        commit, and closed where that is impossible or an exception leaves the transaction.
        """
        async with self.connection() as connection:
            try:
                async with connection.transaction():
                    yield connection
                    prepared = await _count_prepared(connection)
            except BaseException:
                await connection.close()
                raise
            await _clean_or_close(connection, prepared)

    async def listen_connection(self) -> Connection:
        """Open a connection outside the pool, for LISTEN; whoever asked closes it."""
        return await open_connection(self.url)

    async def _checkout(self) -> Connection:
        """Take a connection, past those that died in the pool while the server was away."""
        while _has_hung_up(connection := await self._pool.getconn()):
            await connection.close()
            await self._pool.putconn(connection)
        return connection


async def open_connection(url: str) -> Connection:
    """Open a single connection, as the pool would; the caller closes it."""
    connection = await _connect(url)
    await _configure(connection)
    return connection


def session_settings(connection: Connection) -> sql.Composed:
    """The statement that gives a session its settings."""
    if "search_path" in connection.info.get_parameters().get("options", ""):
        return sql.Composed([_SESSION])
    return _SESSION + _SEARCH_PATH


def clean_session(connection: Connection) -> sql.Composed:
    """The statements that give a session its settings back and remove everything else from it.

    The last one returns whether ``prepared`` statements are left, which only closing removes.
    """
    return _CLEAN.format(settings=session_settings(connection))


async def wait_for_database(url: str, patience: float) -> None:
    """Return when the database answers; raise ServiceUnavailable after `patience` seconds."""
    attempts = retrying(
        _worth_waiting,
        attempts=None if patience else 1,
        seconds=patience or None,
        longest_wait=_LONGEST_WAIT_SECONDS,
    )
    try:
        async for attempt in attempts:
            with attempt:
                await _knock(url)
    except (psycopg.OperationalError, psycopg.ProgrammingError) as error:
        raise ServiceUnavailable(
            f"the database {display_url(url)} cannot be reached: {connection_error(url, error)}; "
            "start it, or set KNOCKON_DATABASE_URL to the right address"
        ) from error


async def reconnecting(work: Callable[[], Awaitable[T]], *, what: str) -> T:
    """Do `work`, and again with growing waits of up to 5 seconds while errors are transient.

    `work` may have committed before it lost its connection, so it must bear being repeated.
    """
    attempts = retrying(is_transient, longest_wait=_LONGEST_WAIT_SECONDS)
    async for attempt in attempts:
        with attempt:
            try:
                return await work()
            except psycopg.Error as error:
                if is_transient(error):
                    _log.warning("interrupted by the database, retrying", what=what, why=str(error))
                raise
    raise AssertionError("retries without limit have no end")


def is_transient(error: BaseException) -> bool:
    """Whether the error means: the same again later may well work.

    That is a lost or refused connection, a server that shuts down or starts, a full server, a
    deadlock and a serialization failure; not a mistake in a statement or in its data.
    """
    if not isinstance(error, psycopg.Error) or isinstance(error, PoolClosed):
        return False
    if error.sqlstate is not None:
        return error.sqlstate in _AWAY or error.sqlstate.startswith("08")
    if isinstance(error, psycopg.InterfaceError):
        return "closed" in str(error)
    return isinstance(error, psycopg.OperationalError)


def is_starved(error: Exception) -> bool:
    """Whether the server lacks what it needs: room on its disk, memory, connections."""
    return isinstance(error, psycopg.Error) and (error.sqlstate or "").startswith("53")


def connection_error(url: str, error: Exception) -> str:
    """Why a connection failed; about what is no address libpq would repeat it, password and all."""
    try:
        address_parameters(url)
    except InvalidInput as unreadable:
        return str(unreadable)
    return str(error).strip()


def address_parameters(url: str) -> dict[str, Any]:
    """The parts of an address. Raises InvalidInput, which does not repeat what it cannot read."""
    try:
        return dict(conninfo_to_dict(url))
    except psycopg.ProgrammingError:
        raise InvalidInput(
            "the address of the database cannot be read: write postgresql://user@host:port/database"
        ) from None


def display_url(url: str) -> str:
    """The address with its password left out, fit to be logged."""
    try:
        parts = conninfo_to_dict(url)
    except psycopg.ProgrammingError:
        return "(not a PostgreSQL address)"
    host = parts.get("host") or "localhost"
    return f"{parts.get('user', '')}@{host}:{parts.get('port', 5432)}/{parts.get('dbname', '')}"


async def _connect(url: str) -> Connection:
    return await AsyncConnection[DictRow].connect(url, **_CONNECT)


async def _knock(url: str) -> None:
    try:
        await (await _connect(url)).close()
    except psycopg.OperationalError as error:
        if _worth_waiting(error):
            _log.warning(f"database {display_url(url)} is away, retrying", why=str(error).strip())
        raise


def _worth_waiting(error: BaseException) -> bool:
    return is_transient(error) and not any(sign in str(error) for sign in _HOPELESS)


async def _configure(connection: Connection) -> None:
    set_json_dumps(encode_json, connection)
    set_json_loads(msgspec.json.decode, connection)
    await connection.execute(session_settings(connection))


async def _count_prepared(connection: Connection) -> int:
    """The number of statements that the driver has prepared."""
    cursor = await connection.execute(COUNT_PREPARED, prepare=False)
    (row,) = await cursor.fetchall()
    return int(row["number"])


async def _clean_or_close(connection: Connection, prepared: int) -> None:
    """Clean a session after a commit, whose outcome must not depend on it."""
    is_clean = False
    try:
        cursor = await connection.execute(clean_session(connection), prepare=False)
        rows = [await each.fetchall() async for each in cursor.results() if each.description]
        is_clean = not rows[-1][0]["prepared"] and await _count_prepared(connection) == prepared
    except psycopg.Error as error:
        _log.warning("a session was closed, since it could not be cleaned", why=str(error))
    finally:
        if not is_clean:
            await connection.close()


def _has_hung_up(connection: Connection) -> bool:
    """Whether the server closed an idle connection; found without a round trip.

    Nobody speaks on an idle connection, so anything to be read from it is a farewell.
    """
    return bool(select.select([connection.fileno()], [], [], 0)[0])
