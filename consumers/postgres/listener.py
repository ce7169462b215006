"""The consumer of a source's change log, woken by NOTIFY, with polling as a fallback."""

import asyncio
from collections.abc import Awaitable, Callable, Collection, Mapping
from contextlib import suppress
from functools import partial
from typing import Any

import psycopg
import structlog
from psycopg import AsyncConnection

from consumers.postgres.changes import drifted, missed, to_batch
from consumers.postgres.connection import TimeLimit, connect, disconnect_after
from consumers.postgres.drift_monitor import Drifted, DriftMonitor
from consumers.postgres.log import START, Position, acknowledge, read_page, stream_name
from consumers.postgres.readers import announce_again, attached_datasets, enter
from consumers.postgres.schema import is_current, upgrade
from consumers.postgres.triggers import Tenant
from consumers.postgres.watch import Watch
from engine.errors import PositionLost
from engine.model.event import Batch
from engine.monitor.metrics import SOURCE_INTERRUPTIONS
from engine.monitor.pulse import Pulse, pulsing
from engine.stopping import unless_stopped
from engine.store.addresses import display_url

Ingest = Callable[[Batch], Awaitable[object]]
"""Writes a batch in one transaction. Raises PositionLost if a stored position has changed."""
Positions = Callable[[], Awaitable[Mapping[str, str]]]
"""Loads the stored position of each of the consumer's streams."""

PAGE = 1_000
"""Log rows in one batch."""

_MAX_BACKOFF_SECONDS = 5.0
_MAX_DOUBLINGS = 6
_NOT_CONNECTED = "does not read the source's change log"

_log = structlog.get_logger(__name__)


class PostgresConsumer:
    """Ingests the changes of the source database at `source_url`.

    The tenant's `consumer` must be unique among the readers of the log. Changes logged by an
    earlier version, which have no org, are ingested if they belong to one of `datasets`; None means
    all of them. The consumer opens its own connection for LISTEN, which must not use a pooler.
    Every `heartbeat_seconds` the attachments are compared with their tables. The same time is the
    timeout of queries, doubled after each failure in case the source is slow. `page` is the number
    of log rows in one batch.
    """

    def __init__(
        self,
        source_url: str,
        tenant: Tenant,
        ingest: Ingest,
        positions: Positions,
        *,
        datasets: Collection[str] | None = None,
        poll_seconds: float = 1.0,
        heartbeat_seconds: float = 5.0,
        page: int | None = None,
    ) -> None:
        self._url = source_url
        self._tenant = tenant
        self._ingest = ingest
        self._positions = positions
        self._datasets = datasets
        self._page = page
        self._pause_seconds = min(poll_seconds, heartbeat_seconds)
        self._heartbeat_seconds = heartbeat_seconds
        self._failures = 0

    async def run(self, stop: asyncio.Event) -> None:
        """Consume until `stop` is set; retry after any error."""
        with pulsing("postgres", self._pause_seconds, waits_for=_NOT_CONNECTED) as pulse:
            while not stop.is_set():
                pulse.beat()
                try:
                    await self._connected(stop, pulse)
                except PositionLost as error:
                    _log.info("resuming from the stored position", why=str(error))
                except Exception as error:
                    pulse.waits_for = _NOT_CONNECTED
                    await self._back_off(error, stop)

    async def _connected(self, stop: asyncio.Event, pulse: Pulse) -> None:
        async with await connect(self._url) as source:
            timeout = self._heartbeat_seconds * 2.0**self._failures
            time_limit = partial(disconnect_after, source, timeout)
            watch = Watch(source, self._heartbeat_seconds, time_limit)
            with time_limit():
                # Before the first read, so that no notification is missed.
                await source.execute("LISTEN knockon_changes")
            reading = await self._resume(source, time_limit)
            drift_monitor = DriftMonitor(source, self._url, self._tenant, time_limit, reading.widen)
            pulse.waits_for = None
            while not stop.is_set():
                pulse.beat()
                if (state := await watch.check_if_due()) is not None:
                    await drift_monitor.repair()
                    # The log also keeps changes of other orgs for this reader.
                    if state.is_behind(self._tenant.consumer):
                        await reading.acknowledge()
                is_last = await reading.ingest_page()
                self._failures = 0
                if is_last:
                    await unless_stopped(stop, _notified(source, self._pause_seconds))

    async def _resume(self, source: AsyncConnection[Any], time_limit: TimeLimit) -> "_Reading":
        with time_limit():
            stream = await stream_name(source)
            if not await is_current(source):
                await upgrade(source)
        with time_limit():
            gap = await enter(source, self._tenant, partial(self._position, stream))
        stored = (await self._positions()).get(stream)
        reading = _Reading(
            source,
            time_limit,
            self._tenant,
            stream,
            stored,
            self._datasets,
            self._ingest,
            self._page,
        )
        if gap is not None:
            await reading.skip_to(gap)
        elif stored is None and (before := await self._position(stream)) is not None:
            reading.position = Position(START.seen, count=before.count)
        await reading.acknowledge()
        return reading

    async def _position(self, stream: str) -> Position | None:
        """The stored position of a stream, or else of the same log on an earlier timeline."""
        stored = await self._positions()
        if stream in stored:
            return Position.from_text(stored[stream])
        earlier = [
            Position.from_text(text)
            for name, text in stored.items()
            if _is_same_database(name, stream)
        ]
        return max(earlier, key=lambda position: position.count, default=None)

    async def _back_off(self, error: Exception, stop: asyncio.Event) -> None:
        seconds = min(0.1 * 2**self._failures, _MAX_BACKOFF_SECONDS)
        self._failures = min(self._failures + 1, _MAX_DOUBLINGS)
        SOURCE_INTERRUPTIONS.inc()
        _log.warning(
            f"the change log of {display_url(self._url)} cannot be ingested, retrying",
            why=str(error).strip() or repr(error),
            seconds=seconds,
        )
        await unless_stopped(stop, asyncio.sleep(seconds))


class _Reading:
    """The progress of one connection through the log.

    `position` is the current position and `stored` the one in Knockon's database. A poll without
    changes advances only the former, to avoid a write.
    """

    def __init__(
        self,
        source: AsyncConnection[Any],
        time_limit: TimeLimit,
        tenant: Tenant,
        stream: str,
        stored: str | None,
        datasets: Collection[str] | None,
        ingest: Ingest,
        page: int | None,
    ) -> None:
        self.source = source
        self.time_limit = time_limit
        self.tenant = tenant
        self.ingest = ingest
        self.stream = stream
        self.stored = stored
        self.datasets = datasets
        self.page = page
        self.position = Position.from_text(stored)
        self.acknowledged: Position | None = None

    async def ingest_page(self) -> bool:
        """Ingest a page; returns True if the log has no further changes."""
        org, consumer = self.tenant.org, self.tenant.consumer
        with self.time_limit():
            page = await read_page(
                self.source, self.position, org, self.datasets, self.page or PAGE
            )
        if page.changes:
            after = page.position.to_text()
            await self.ingest(to_batch(consumer, self.stream, page.changes, self.stored, after))
            self.stored = after
        self.position = page.position
        if page.changes:
            await self.acknowledge()
        return page.is_last

    async def skip_to(self, gap: Position) -> None:
        """Resume after a gap in the log, and mark all attached datasets as changed."""
        org, consumer = self.tenant.org, self.tenant.consumer
        with self.time_limit():
            datasets = await attached_datasets(self.source, org, self.datasets)
        _log.error(
            "change log has a gap; marking all attached datasets as changed", datasets=datasets
        )
        after = gap.to_text()
        await self.ingest(missed(consumer, self.stream, datasets, self.stored, after))
        self.stored, self.position = after, gap
        with self.time_limit(), suppress(psycopg.errors.InsufficientPrivilege):
            await announce_again(self.source, org)

    async def widen(self, drift: Drifted) -> None:
        """Mark the dataset of a table that could not be attached again as changed."""
        dataset = drift.stored.dataset
        consumer = self.tenant.consumer
        await self.ingest(drifted(consumer, self.stream, dataset, drift.state, drift.report))

    async def acknowledge(self) -> None:
        """Acknowledge the position, so that the source can delete changes read, of any org."""
        if self.position != self.acknowledged:
            with self.time_limit():
                await acknowledge(self.source, self.tenant, self.position)
            self.acknowledged = self.position


def _is_same_database(stream: str, other: str) -> bool:
    """Return whether two streams belong to one database of one cluster, on any timelines."""
    kind, cluster, _, database = stream.split("/", 3) if stream.count("/") >= 3 else ("",) * 4
    return other.split("/", 3)[:2] == [kind, cluster] and other.split("/", 3)[3:] == [database]


async def _notified(source: AsyncConnection[Any], seconds: float) -> None:
    """Wait for a notification, including one already received, for at most `seconds`."""
    async for _ in source.notifies(timeout=seconds, stop_after=1):
        pass
