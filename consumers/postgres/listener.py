"""The consumer of a source's change log: woken by NOTIFY, and by a clock where that is lost."""

import asyncio
from collections.abc import Awaitable, Callable, Collection, Coroutine, Mapping
from functools import partial
from typing import Any

import psycopg
import structlog
from psycopg import AsyncConnection

from consumers.postgres.changes import missed, to_batch
from consumers.postgres.connection import Guard, connect, hanging_up_after
from consumers.postgres.log import Position, read_page, settle, stream_name
from consumers.postgres.readers import attached_datasets, enter
from consumers.postgres.watch import Watch
from engine.errors import KnockonError, PositionLost
from engine.model.event import Batch
from engine.monitor.metrics import SOURCE_INTERRUPTIONS
from engine.monitor.pulse import Pulse, pulsing
from engine.store.database import display_url

Ingest = Callable[[Batch], Awaitable[object]]
"""Writes a batch in one transaction; raises PositionLost when a position has moved."""
Positions = Callable[[], Awaitable[Mapping[str, str]]]
"""Loads the stored position of each of the consumer's streams."""

PAGE = 1_000
"""Log rows in one batch."""

_LONGEST_WAIT_SECONDS = 5.0
_MOST_DOUBLINGS = 6
_NOT_CONNECTED = "does not read the source's change log"

_log = structlog.get_logger(__name__)


class PostgresConsumer:
    """Takes the changes of the source database at `source_url` into Knockon.

    `consumer` is unlike the name of any other reader of that log, of other orgs too. Changes of
    datasets other than `datasets` are passed over for good; None takes all. The connection is its
    own, for LISTEN, and must not go through a pooler. Every `heartbeat_seconds` the source is asked
    whether it is there. It has as long for any answer, and twice as long after each failure, in
    case that it is there but slow.
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
        heartbeat_seconds: float = 5.0,
    ) -> None:
        self._url = source_url
        self._consumer = consumer
        self._ingest = ingest
        self._positions = positions
        self._datasets = datasets
        self._pause_seconds = min(poll_seconds, heartbeat_seconds)
        self._heartbeat_seconds = heartbeat_seconds
        self._failures = 0

    async def run(self, stop: asyncio.Event) -> None:
        """Consume until `stop` is set; whatever fails on the way is waited out."""
        with pulsing("postgres", self._pause_seconds, waits_for=_NOT_CONNECTED) as pulse:
            while not stop.is_set():
                pulse.beat()
                try:
                    await self._connected(stop, pulse)
                except PositionLost as error:
                    _log.info("resuming from the stored position", why=str(error))
                except (psycopg.Error, KnockonError) as error:
                    pulse.waits_for = _NOT_CONNECTED
                    await self._back_off(error, stop)

    async def _connected(self, stop: asyncio.Event, pulse: Pulse) -> None:
        async with await connect(self._url) as source:
            answering = partial(hanging_up_after, source, self._patience_seconds())
            watch = Watch(source, self._heartbeat_seconds, answering)
            with answering():
                await source.execute("LISTEN knockon_changes")  # first, so that no ring is missed
            reading = await self._resume(source, answering)
            pulse.waits_for = None
            while not stop.is_set():
                pulse.beat()
                await watch.look()
                is_last = await reading.take(self._ingest)
                self._failures = 0
                if is_last:
                    await _first(stop.wait(), _rung(source, self._pause_seconds))

    def _patience_seconds(self) -> float:
        return self._heartbeat_seconds * 2.0**self._failures

    async def _resume(self, source: AsyncConnection[Any], answering: Guard) -> "_Reading":
        with answering():
            stream = await stream_name(source)
        stored = (await self._positions()).get(stream)
        reading = _Reading(source, answering, self._consumer, stream, stored, self._datasets)
        with answering():
            gap = await enter(source, self._consumer, has_read=stored is not None)
        if gap is not None:
            await reading.pass_over(gap, self._ingest)
        await reading.settle()
        return reading

    async def _back_off(self, error: Exception, stop: asyncio.Event) -> None:
        seconds = min(0.1 * 2**self._failures, _LONGEST_WAIT_SECONDS)
        self._failures = min(self._failures + 1, _MOST_DOUBLINGS)
        SOURCE_INTERRUPTIONS.inc()
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
        answering: Guard,
        consumer: str,
        stream: str,
        stored: str | None,
        datasets: Collection[str] | None,
    ) -> None:
        self.source = source
        self.answering = answering
        self.consumer = consumer
        self.stream = stream
        self.stored = stored
        self.datasets = datasets
        self.position = Position.from_text(stored)

    async def take(self, ingest: Ingest) -> bool:
        """Take in a page; True when there was no more to read."""
        with self.answering():
            page = await read_page(self.source, self.position, self.datasets, PAGE)
        if page.changes:
            after = page.position.to_text()
            await ingest(to_batch(self.consumer, self.stream, page.changes, self.stored, after))
            self.stored = after
        self.position = page.position
        if page.changes:
            await self.settle()
        return page.is_last

    async def pass_over(self, gap: Position, ingest: Ingest) -> None:
        """Read on behind a gap, and take all that is attached for changed."""
        with self.answering():
            attached = await attached_datasets(self.source)
        datasets = [each for each in attached if self.datasets is None or each in self.datasets]
        _log.error("changes may be gone unread: all is taken for changed", datasets=datasets)
        after = gap.to_text()
        await ingest(missed(self.consumer, self.stream, datasets, self.stored, after))
        self.stored, self.position = after, gap

    async def settle(self) -> None:
        """Tell the source what it may forget."""
        with self.answering():
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
