"""Detection of a migration that requires newer code than the code of this process."""

import asyncio
from collections.abc import Callable
from contextlib import suppress
from typing import Self

import psycopg
import structlog
from psycopg import sql

from engine.errors import OutdatedCode, ServiceUnavailable
from engine.store.compatibility import CHANNEL, register_code, require_supported_code
from engine.store.database import Connection, Database

_log = structlog.get_logger(__name__)
_POLL_SECONDS = 5.0
_PAUSE_SECONDS = 1.0


class SchemaWatch:
    """Keeps the code of this process registered, and calls ``on_outdated`` when it must stop.

    A migration that requires newer code waits until the process has left the context. Entering
    raises OutdatedCode if the code is too old already.
    """

    def __init__(self, database: Database, on_outdated: Callable[[], None] = lambda: None) -> None:
        self._database = database
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
        connection = await self._register()
        try:
            await require_supported_code(connection)
        except BaseException:
            await connection.close()
            raise
        self._watching = asyncio.create_task(self._watch(connection))
        return self

    async def __aexit__(self, *_: object) -> None:
        self._watching.cancel()
        with suppress(asyncio.CancelledError):
            await self._watching

    async def _register(self) -> Connection:
        connection = await self._database.listen_connection()
        try:
            await register_code(connection)
            await connection.execute(sql.SQL("LISTEN {}").format(sql.Identifier(CHANNEL)))
        except BaseException:
            await connection.close()
            raise
        return connection

    async def _watch(self, connection: Connection) -> None:
        while True:
            try:
                await self._watch_on(connection)
            except (psycopg.Error, ServiceUnavailable, OSError) as error:
                _log.warning(
                    "lost the connection that watches the schema; reconnecting",
                    why=str(error).strip(),
                )
            connection = await self._reconnect()

    async def _watch_on(self, connection: Connection) -> None:
        """Check the code on every notification, and every few seconds."""
        try:
            while True:
                await self._check_code(connection)
                async for _ in connection.notifies(timeout=_POLL_SECONDS, stop_after=1):
                    pass
        finally:
            await connection.close()

    async def _check_code(self, connection: Connection) -> None:
        try:
            await require_supported_code(connection)
        except OutdatedCode as error:
            if self._error is None:
                _log.warning("stopping", why=str(error))
                self._error = error
                self._on_outdated()

    async def _reconnect(self) -> Connection:
        while True:
            try:
                return await self._register()
            except (psycopg.Error, ServiceUnavailable, OSError):
                await asyncio.sleep(_PAUSE_SECONDS)
