"""Doorbells: LISTEN on a connection of its own, so that a loop wakes as soon as there is work.

A bell carries no truth: whoever it wakes looks into the tables, and polls as well.
"""

import asyncio
from collections.abc import Sequence
from contextlib import suppress

import psycopg
import structlog
from psycopg import sql

from engine.errors import ServiceUnavailable
from engine.store.database import Connection, Database

_log = structlog.get_logger(__name__)
_PAUSE_SECONDS = 1.0
_LISTEN_SECONDS = 30.0


class Doorbell:
    """Sets ``wake`` whenever one of its bells rings, and once after every (re)connection."""

    def __init__(self, database: Database, bells: Sequence[str]) -> None:
        self.wake = asyncio.Event()
        self._database = database
        self._bells = bells

    async def run(self, stop: asyncio.Event) -> None:
        """Listen until ``stop`` is set, through every outage of the database."""
        listening = asyncio.create_task(self._listen_for_ever())
        await stop.wait()
        listening.cancel()
        with suppress(asyncio.CancelledError):
            await listening

    async def wait(self, seconds: float) -> None:
        """Return when a bell has rung since the last call, or after ``seconds``."""
        with suppress(TimeoutError):
            async with asyncio.timeout(seconds):
                await self.wake.wait()
        self.wake.clear()

    async def _listen_for_ever(self) -> None:
        while True:
            try:
                await self._listen()
            except (psycopg.Error, ServiceUnavailable, OSError) as error:
                _log.warning("the doorbell is down, connecting again", why=str(error).strip())
                await asyncio.sleep(_PAUSE_SECONDS)

    async def _listen(self) -> None:
        connection = await self._database.listen_connection()
        try:
            for bell in self._bells:
                await connection.execute(sql.SQL("LISTEN {}").format(sql.Identifier(bell)))
            self.wake.set()
            while True:
                await self._hear(connection)
        finally:
            await connection.close()

    async def _hear(self, connection: Connection) -> None:
        async for _ in connection.notifies(timeout=_LISTEN_SECONDS):
            self.wake.set()
        # Nothing for a while: a statement shows whether the server is still there.
        await connection.execute("SELECT 1")
