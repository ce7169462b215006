"""LISTEN on a dedicated connection, so that a loop wakes as soon as work arrives.

A notification is only a hint: a woken loop reads the tables, and every loop polls as well.
"""

import asyncio
from collections.abc import Iterator, Sequence
from contextlib import contextmanager, suppress
from uuid import UUID

import psycopg
import structlog
from psycopg import sql

from engine.errors import ServiceUnavailable
from engine.store.database import Database

_log = structlog.get_logger(__name__)
_PAUSE_SECONDS = 1.0
_LISTEN_SECONDS = 30.0


class Waker:
    """An event, set by every notification, for one loop that waits."""

    def __init__(self) -> None:
        self.wake = asyncio.Event()

    async def wait(self, seconds: float) -> None:
        """Return on the first notification since the last call, or after ``seconds``."""
        with suppress(TimeoutError):
            async with asyncio.timeout(seconds):
                await self.wake.wait()
        self.wake.clear()


class NotificationListener(Waker):
    """Set ``wake`` on every notification of the channels, and once after every (re)connection."""

    def __init__(self, database: Database, channels: Sequence[str]) -> None:
        super().__init__()
        self._database = database
        self._channels = channels
        self._wakers: dict[Waker, str | None] = {self: None}

    @contextmanager
    def waker(self, org_id: UUID | None = None) -> Iterator[Waker]:
        """Lend a waker to a further loop, which waits independently of the others.

        With ``org_id``, only notifications for the org wake it.
        """
        waker = Waker()
        self._wakers[waker] = None if org_id is None else str(org_id)
        try:
            yield waker
        finally:
            del self._wakers[waker]

    async def run(self, stop: asyncio.Event) -> None:
        """Listen until ``stop`` is set, reconnecting after every outage of the database."""
        listening = asyncio.create_task(self._reconnecting())
        await stop.wait()
        listening.cancel()
        with suppress(asyncio.CancelledError):
            await listening

    async def _reconnecting(self) -> None:
        while True:
            try:
                await self._listen()
            except (psycopg.Error, ServiceUnavailable, OSError) as error:
                _log.warning(
                    "lost the connection for notifications; reconnecting", why=str(error).strip()
                )
                await asyncio.sleep(_PAUSE_SECONDS)

    async def _listen(self) -> None:
        connection = await self._database.listen_connection()
        try:
            for channel in self._channels:
                await connection.execute(sql.SQL("LISTEN {}").format(sql.Identifier(channel)))
            self._wake_all()
            while True:
                async for notification in connection.notifies(timeout=_LISTEN_SECONDS):
                    self._wake(notification.payload)
                # Detects a server that vanished without closing the connection.
                await connection.execute("SELECT 1")
        finally:
            await connection.close()

    def _wake(self, org_id: str) -> None:
        for waker, own in self._wakers.items():
            if own in (None, org_id) or not org_id:
                waker.wake.set()

    def _wake_all(self) -> None:
        for waker in self._wakers:
            waker.wake.set()
