"""Wake-ups of event streams: one poller for each org with streams, however many those are.

The publication of events sends no notification, so that the poller compares positions. A stream
reads events by itself, with the rights of its own caller.
"""

import asyncio
from collections.abc import AsyncIterator, Iterator
from contextlib import asynccontextmanager, contextmanager, suppress
from uuid import UUID

import structlog

from engine.errors import KnockonError
from engine.http.counts import KeyCounts
from engine.service.caller import Caller
from engine.service.queries.events import newest_position
from engine.service.service import Service

_log = structlog.get_logger(__name__)
_POLL_SECONDS = 1.0


class OrgFeed:
    """The newest position of an org's events, polled while any stream is open."""

    def __init__(self, service: Service, caller: Caller) -> None:
        self._service = service
        self._caller = caller
        self._changed = asyncio.Condition()
        self.position = 0
        self.streams = 0

    async def wait(self, after: int, seconds: float) -> None:
        """Return when there are events after a position, or after some seconds."""
        with suppress(TimeoutError):
            async with asyncio.timeout(seconds), self._changed:
                await self._changed.wait_for(lambda: self.position > after)

    async def poll(self) -> None:
        """Poll until canceled, through all outages of the database."""
        while True:
            try:
                position = await newest_position(self._caller, self._service)
            except KnockonError as error:
                _log.warning("cannot read the position of the events", why=str(error))
            else:
                await self._advance(position)
            await asyncio.sleep(_POLL_SECONDS)

    async def _advance(self, position: int) -> None:
        if position > self.position:
            async with self._changed:
                self.position = position
                self._changed.notify_all()


class Feeds:
    """The feeds of the orgs, and the number of streams of each key; all end with the process."""

    def __init__(self, service: Service, most_streams: int) -> None:
        self._service = service
        self._feeds: dict[UUID, OrgFeed] = {}
        self._pollers: dict[UUID, asyncio.Task[None]] = {}
        self._streams = KeyCounts(most_streams, "streams")
        self.stopped = asyncio.Event()

    def stop(self) -> None:
        """End all streams."""
        self.stopped.set()

    @contextmanager
    def admitted(self, key: str) -> Iterator[None]:
        """Count a stream of a key. Raises RequestError if the key has too many."""
        with self._streams.counted(key):
            yield

    @asynccontextmanager
    async def feed(self, caller: Caller) -> AsyncIterator[OrgFeed]:
        """Lend the feed of the caller's org, polled until its last stream ends."""
        org = caller.org.id
        feed = self._feeds.get(org)
        if feed is None:
            feed = self._feeds[org] = OrgFeed(self._service, caller)
            self._pollers[org] = asyncio.create_task(feed.poll())
        feed.streams += 1
        try:
            yield feed
        finally:
            feed.streams -= 1
            if not feed.streams:
                del self._feeds[org]
                self._pollers.pop(org).cancel()
