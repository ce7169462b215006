"""Streams of events as server-sent events, resumed after the last position received."""

from collections.abc import AsyncIterator, Sequence
from dataclasses import dataclass
from time import monotonic

from starlette.responses import StreamingResponse
from starlette.types import Receive, Scope, Send

from engine.errors import KnockonError
from engine.http.authentication import Credential, caller_of
from engine.http.encoding import encode
from engine.http.feed import Feeds, OrgFeed
from engine.model.states import EventKind
from engine.service.queries.events import FeedEvent, events
from engine.service.service import Service
from engine.stopping import unless_stopped

_HEARTBEAT_SECONDS = 15.0
_PAGE = 200
"""Events in memory of a stream: a client that reads slowly delays the next page."""
_RETRY = b"retry: 2000\n\n"


@dataclass(frozen=True, slots=True)
class EventStream:
    """The events of an org after a position, for the user of a key."""

    service: Service
    feeds: Feeds
    key: Credential
    after: int
    kinds: Sequence[EventKind] | None
    heartbeat_seconds: float = _HEARTBEAT_SECONDS

    async def chunks(self) -> AsyncIterator[bytes]:
        """Yield the events, and heartbeats, until the service stops or the key is not valid.

        After an error, the client connects again, continues after its last event, and receives the
        error as a response.
        """
        yield _RETRY
        try:
            caller = await caller_of(self.service, self.key)
            async with self.feeds.feed(caller) as feed:
                async for chunk in self._pages(feed):
                    yield chunk
        except KnockonError:
            return

    async def _pages(self, feed: OrgFeed) -> AsyncIterator[bytes]:
        position, sent_at = self.after, monotonic()
        while not self.feeds.stopped.is_set():
            reached = feed.position
            if page := await self._page(position):
                position, sent_at = page[-1].position, monotonic()
                yield b"".join(map(_event, page))
                continue
            # Events of other kinds are skipped for good: those up to here have been read.
            position = max(position, reached)
            if monotonic() - sent_at >= self.heartbeat_seconds:
                sent_at = monotonic()
                yield b": heartbeat\nid: %d\n\n" % position
            seconds = sent_at + self.heartbeat_seconds - monotonic()
            await unless_stopped(self.feeds.stopped, feed.wait(position, seconds))

    async def _page(self, after: int) -> list[FeedEvent]:
        """Return the next events, with the rights of now: a revoked key ends its streams."""
        caller = await caller_of(self.service, self.key)
        return await events(caller, self.service, after=after, kinds=self.kinds, limit=_PAGE)


class EventStreamResponse(StreamingResponse):
    """The response with a stream, counted while the client is connected."""

    def __init__(self, stream: EventStream, key_prefix: str) -> None:
        super().__init__(
            stream.chunks(),
            media_type="text/event-stream",
            # Proxies such as nginx would collect the events.
            headers={"x-accel-buffering": "no"},
        )
        self._feeds = stream.feeds
        self._key_prefix = key_prefix

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:
        """Send the stream. Raises RequestError if the key has too many."""
        with self._feeds.admitted(self._key_prefix):
            await super().__call__(scope, receive, send)


def _event(event: FeedEvent) -> bytes:
    lines = f"id: {event.position}\nevent: {event.kind}\ndata: ".encode()
    return lines + encode(event) + b"\n\n"
