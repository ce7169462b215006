"""The consumer of a source's change log: woken by NOTIFY, and by a clock where that is lost."""

import asyncio
from collections.abc import Awaitable, Callable, Collection, Coroutine, Mapping
from typing import Any

import psycopg
import structlog
from psycopg import AsyncConnection

from consumers.postgres.changes import to_batch
from consumers.postgres.log import Position, read_page, settle, stream_name
from engine.errors import KnockonError, PositionLost
from engine.model.event import Batch
from engine.store.database import display_url

Ingest = Callable[[Batch], Awaitable[None]]
"""Writes a batch in one transaction; raises PositionLost when a position has moved."""
Positions = Callable[[], Awaitable[Mapping[str, str]]]
"""Loads the stored position of each of the consumer's streams."""

PAGE = 1_000
"""Log rows in one batch."""

_LONGEST_WAIT_SECONDS = 5.0
_CONNECT: dict[str, Any] = {
    "autocommit": True,  # an open transaction here would keep the source from cleaning up
    "application_name": "knockon",
    "connect_timeout": 5,
    # a peer that vanished without a word is noticed after 10 + 3 * 5 seconds
    "keepalives_idle": 10,
    "keepalives_interval": 5,
    "keepalives_count": 3,
}

_log = structlog.get_logger(__name__)


class PostgresConsumer:
    """Takes the changes of the source database at `source_url` into Knockon.

    `consumer` is unlike the name of any other reader of that log, of other orgs too. Changes of
    datasets other than `datasets` are passed over for good; None takes all. The connection is its
    own, for LISTEN, and must not go through a pooler.
    """

    def __init__(
        self,
        source_url: str,
        consumer: str,
        ingest: Ingest,
        positions: Positions,
        *,
        datasets: Collection[str] | None = None,
        poll_seconds: float = 1.0,
    ) -> None:
        self._url = source_url
        self._consumer = consumer
        self._ingest = ingest
        self._positions = positions
        self._datasets = datasets
        self._poll_seconds = poll_seconds
        self._failures = 0

    async def run(self, stop: asyncio.Event) -> None:
        """Consume until `stop` is set; whatever fails on the way is waited out."""
        while not stop.is_set():
            try:
                await self._connected(stop)
            except PositionLost as error:
                _log.info("resuming from the stored position", why=str(error))
            except (psycopg.Error, KnockonError) as error:
                await self._back_off(error, stop)

    async def _connected(self, stop: asyncio.Event) -> None:
        async with await AsyncConnection.connect(self._url, **_CONNECT) as source:
            await source.execute("LISTEN knockon_changes")  # first, so that no ring is missed
            reading = await self._resume(source)
            while not stop.is_set():
                await reading.drain(self._ingest)
                self._failures = 0
                await _first(stop.wait(), _rung(source, self._poll_seconds))

    async def _resume(self, source: AsyncConnection[Any]) -> "_Reading":
        stream = await stream_name(source)
        stored = (await self._positions()).get(stream)
        reading = _Reading(source, self._consumer, stream, stored, self._datasets)
        await reading.settle()
        return reading

    async def _back_off(self, error: Exception, stop: asyncio.Event) -> None:
        seconds = min(0.1 * 2**self._failures, _LONGEST_WAIT_SECONDS)
        self._failures += 1
        _log.warning(
            f"the change log of {display_url(self._url)} cannot be taken in, retrying",
            why=str(error).strip(),
            seconds=seconds,
        )
        await _first(stop.wait(), asyncio.sleep(seconds))


class _Reading:
    """One connection's way through the log.

    `position` is how far it has come, `stored` what Knockon has of it: a quiet poll moves the one,
    but is not worth a write of the other.
    """

    def __init__(
        self,
        source: AsyncConnection[Any],
        consumer: str,
        stream: str,
        stored: str | None,
        datasets: Collection[str] | None,
    ) -> None:
        self.source = source
        self.consumer = consumer
        self.stream = stream
        self.stored = stored
        self.datasets = datasets
        self.position = Position.from_text(stored)

    async def drain(self, ingest: Ingest) -> None:
        """Take in all that is there now, a page at a time."""
        is_last = False
        while not is_last:
            page = await read_page(self.source, self.position, self.datasets, PAGE)
            if page.changes:
                after = page.position.to_text()
                await ingest(to_batch(self.consumer, self.stream, page.changes, self.stored, after))
                self.stored = after
            self.position, is_last = page.position, page.is_last
            if page.changes:
                await self.settle()

    async def settle(self) -> None:
        """Tell the source what it may forget."""
        await settle(self.source, self.consumer, self.position)


async def _rung(source: AsyncConnection[Any], seconds: float) -> None:
    """Return at the next doorbell, at once if it rang since we last looked, or after `seconds`."""
    async for _ in source.notifies(timeout=seconds, stop_after=1):
        pass


async def _first(*waits: Coroutine[Any, Any, Any]) -> None:
    """Return with the first of them, and give up the others."""
    tasks = [asyncio.create_task(wait) for wait in waits]
    try:
        done, _ = await asyncio.wait(tasks, return_when=asyncio.FIRST_COMPLETED)
    finally:
        for task in tasks:
            task.cancel()
        await asyncio.gather(*tasks, return_exceptions=True)
    for task in done:
        task.result()
