"""Streams of events, which continue after their last position when the connection is lost."""

import asyncio
import time
from collections.abc import AsyncIterator, Iterator
from dataclasses import dataclass
from typing import Final, Self

import httpx2
import msgspec

from engine.client.connections import AsyncConnection, Connection
from engine.client.requests import Request
from engine.errors import ServiceUnavailable
from engine.service.queries.events import FeedEvent

_RECONNECT_SECONDS: Final = 2.0
"""Time as the server gives it with `retry:`."""


@dataclass
class _Position:
    """The position after which a stream continues; None for now."""

    value: str | None

    @classmethod
    def of(cls, first: Request[FeedEvent]) -> Self:
        """Return the position after which a request begins."""
        after = first.query.get("after")
        return cls(None if after is None else str(after))

    def request(self, first: Request[FeedEvent]) -> Request[FeedEvent]:
        """Return the request that continues the stream."""
        if self.value is None:
            return first
        return Request(
            first.method,
            first.path,
            first.returns,
            {**first.query, "after": None},
            headers={"Last-Event-ID": self.value},
        )

    def read(self, received: httpx2.ServerSentEvent) -> FeedEvent | None:
        """Advance to what was received; return the event, None for a heartbeat."""
        self.value = received.id or self.value
        return msgspec.json.decode(received.data, type=FeedEvent) if received.data else None


@dataclass(frozen=True, slots=True)
class EventStream:
    """Events from a position on, without a gap and without end.

    The iteration raises KnockonError if the server refuses to continue it.
    """

    connection: Connection
    first: Request[FeedEvent]

    def __iter__(self) -> Iterator[FeedEvent]:
        position = _Position.of(self.first)
        while True:
            try:
                with self.connection.stream(position.request(self.first)) as response:
                    for received in httpx2.EventSource(response):
                        if (event := position.read(received)) is not None:
                            yield event
            except ServiceUnavailable:
                if position.value is None:
                    raise
            time.sleep(_RECONNECT_SECONDS)


@dataclass(frozen=True, slots=True)
class AsyncEventStream:
    """Events from a position on, without a gap and without end.

    The iteration raises KnockonError if the server refuses to continue it.
    """

    connection: AsyncConnection
    first: Request[FeedEvent]

    async def __aiter__(self) -> AsyncIterator[FeedEvent]:
        position = _Position.of(self.first)
        while True:
            try:
                async with self.connection.stream(position.request(self.first)) as response:
                    async for received in httpx2.EventSource(response):
                        if (event := position.read(received)) is not None:
                            yield event
            except ServiceUnavailable:
                if position.value is None:
                    raise
            await asyncio.sleep(_RECONNECT_SECONDS)
