"""Detection of a migration that requires newer code than the code of this process."""

import asyncio
from collections.abc import Callable
from contextlib import suppress
from typing import Self

import psycopg
import structlog
from psycopg import sql

from engine.errors import OutdatedCode, ServiceUnavailable
from engine.model.presence import Presence
from engine.store.compatibility import CHANNEL, register_code, require_supported_code
from engine.store.database import PATIENCE_SECONDS, Connection, Database, reconnecting
from engine.store.outages import is_transient
from engine.store.presence import register

_log = structlog.get_logger(__name__)
_POLL_SECONDS = 5.0
_PAUSE_SECONDS = 1.0


class SchemaWatch:
    """Keeps the code of this process registered, and calls ``on_outdated`` when it must stop.

    A migration that requires newer code waits until the process has left the context. Entering
    waits up to a minute for an unavailable database, and raises OutdatedCode if the code is too
    old already. ``presence`` is shown meanwhile.
    """

    def __init__(
        self,
        database: Database,
        on_outdated: Callable[[], None] = lambda: None,
        *,
        presence: Presence | None = None,
    ) -> None:
        self._database = database
        self._presence = presence
        self._on_outdated = on_outdated
        self._error: OutdatedCode | None = None

    def check(self) -> None:
        """Raise OutdatedCode if the process must stop."""
        if self._error is not None:
            raise self._error

    @property
    def is_outdated(self) -> bool:
        """True if the process must stop."""
        return self._error is not None

    async def __aenter__(self) -> Self:
        self._connection = await reconnecting(
            self._start, what="registration of the code", seconds=PATIENCE_SECONDS
        )
        self._watching = asyncio.create_task(self._watch())
        return self

    async def __aexit__(self, *_: object) -> None:
        self._watching.cancel()
        with suppress(asyncio.CancelledError):
            await self._watching
        await self._connection.close()

    async def _start(self) -> Connection:
        connection = await self._register()
        try:
            await require_supported_code(connection)
        except BaseException:
            await connection.close()
            raise
        return connection

    async def _register(self) -> Connection:
        connection = await self._database.listen_connection()
        try:
            await register_code(connection)
            if self._presence is not None:
                await register(connection, self._presence)
            await connection.execute(sql.SQL("LISTEN {}").format(sql.Identifier(CHANNEL)))
        except BaseException:
            await connection.close()
            raise
        return connection

    async def _watch(self) -> None:
        """Check the code on every notification and every few seconds, through all outages."""
        while True:
            try:
                await self._check_code()
                async for _ in self._connection.notifies(timeout=_POLL_SECONDS, stop_after=1):
                    pass
            except (psycopg.Error, OSError) as error:
                await self._recover(error)

    async def _recover(self, error: Exception) -> None:
        """Reconnect if the connection was lost; otherwise wait, as the next check may fail too."""
        why = str(error).strip()
        if self._connection.closed or isinstance(error, OSError) or is_transient(error):
            _log.warning("lost the connection that watches the schema; reconnecting", why=why)
            await self._reconnect()
        else:
            _log.warning("cannot check the code against the schema; trying again", why=why)
            await asyncio.sleep(_POLL_SECONDS)

    async def _check_code(self) -> None:
        try:
            await require_supported_code(self._connection)
        except OutdatedCode as error:
            if self._error is None:
                _log.warning("stopping", why=str(error))
                self._error = error
                self._on_outdated()

    async def _reconnect(self) -> None:
        await self._connection.close()
        while True:
            try:
                self._connection = await self._register()
            except (psycopg.Error, ServiceUnavailable, OSError):
                await asyncio.sleep(_PAUSE_SECONDS)
            else:
                return
