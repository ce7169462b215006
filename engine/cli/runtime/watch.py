"""Waits for changes of tasks, beside the database or a server."""

import asyncio
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from typing import Protocol

from engine.cli.runtime.session import Session
from engine.loops.notification_listener import NotificationListener
from engine.loops.schema_watch import SchemaWatch


class Watch(Protocol):
    """Wakes up after changes, and reports if the code of this process has become too old."""

    @property
    def is_outdated(self) -> bool:
        """True if the process must stop."""

    def check(self) -> None:
        """Raise OutdatedCode if the process must stop."""

    async def wait(self, seconds: float) -> None:
        """Return after a change, or after some seconds."""


@asynccontextmanager
async def watching(session: Session) -> AsyncIterator[Watch]:
    """Watch the tasks of a session. Raises OutdatedCode."""
    if session.is_remote:
        yield _Polling()
        return
    stop = asyncio.Event()
    notifications = session.service.task_notifications()
    async with SchemaWatch(session.database) as schema:
        # No group of tasks, which would put the error of a command into a group of errors.
        listening = asyncio.create_task(notifications.run(stop))
        try:
            yield _Listening(notifications, schema)
        finally:
            stop.set()
            await listening


class _Polling:
    """The server itself migrates its database, whatever the code of its clients."""

    is_outdated = False

    def check(self) -> None:
        """Do nothing."""

    async def wait(self, seconds: float) -> None:
        """Return after some seconds."""
        await asyncio.sleep(seconds)


class _Listening:
    def __init__(self, notifications: NotificationListener, schema: SchemaWatch) -> None:
        self._notifications = notifications
        self._schema = schema

    @property
    def is_outdated(self) -> bool:
        """True if the process must stop."""
        return self._schema.is_outdated

    def check(self) -> None:
        """Raise OutdatedCode if the process must stop."""
        self._schema.check()

    async def wait(self, seconds: float) -> None:
        """Return after a notification, or after some seconds."""
        await self._notifications.wait(seconds)
