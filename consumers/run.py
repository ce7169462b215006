"""The consumers of an org's sources, restarted whenever a deploy changes the sources."""

import asyncio
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass, field, replace
from time import perf_counter
from typing import Any, Protocol

import structlog

from consumers.kafka import BATCH_SIZE, Ingest, KafkaConsumer, KafkaSettings, Origin, Start, rewinds
from consumers.postgres.connection import ANSWER_SECONDS, connect, disconnect_after
from consumers.postgres.listener import PAGE, PostgresConsumer
from consumers.postgres.triggers import Tenant
from consumers.reports import report
from consumers.sources import Sources, load_sources
from consumers.stored_lag import store_lag
from engine.errors import InvalidInput, PositionLost
from engine.event_rates import EventRates
from engine.flow.deployment.auto_register import auto_register
from engine.flow.ingestion.ingest import Confirm, Ingested, Rejected, ingest
from engine.flow.shared.org_context import OrgContext
from engine.loops.periodic import pause, run_periodically
from engine.model.discovery import DiscoveredDataset
from engine.model.event import Advance, Batch
from engine.monitor.metrics import DELAYED_SECONDS
from engine.retries import retrying
from engine.stopping import unless_stopped
from engine.store.database import Connection, Database
from engine.store.orgs import lineage_epoch, settings
from engine.store.rows.sources import StoredPosition
from engine.store.run import fetch

_log = structlog.get_logger(__name__)
_REFRESH_SECONDS = 2.0
_EXPIRE_SECONDS = 60.0
_PACED_SECONDS = 5
_LAG_SECONDS = 10.0


class _SourcesChanged(PositionLost):
    """The sources have changed since a batch was read."""


def _is_position_lost(error: BaseException) -> bool:
    return isinstance(error, PositionLost)


class _Consumer(Protocol):
    async def run(self, stop: asyncio.Event) -> None: ...


@dataclass(frozen=True, slots=True, kw_only=True)
class SourceConnections:
    """Connections to the sources.

    ``name`` identifies the consumer in Knockon's database and is the Kafka consumer group. Without
    ``bootstrap_servers`` no topics are read. ``start``, ``security``, ``dead_letter_topic``,
    ``client`` and ``reports_losses`` are as in KafkaSettings.
    """

    name: str
    source_url: str
    bootstrap_servers: str | None
    poll_seconds: float = 1.0
    heartbeat_seconds: float = 5.0
    start: Start = "earliest"
    security: Mapping[str, Any] = field(default_factory=dict, repr=False)
    dead_letter_topic: str | None = None
    client: Mapping[str, Any] = field(default_factory=dict)
    reports_losses: bool = True


class Consumers:
    """Runs the consumers of the deployed sources, which are reloaded every two seconds."""

    def __init__(self, database: Database, org: OrgContext, connections: SourceConnections) -> None:
        self._database = database
        self._org = org
        self._connections = connections
        self._sources: Sources | None = None
        self._quota: int | None = None
        self._rates = EventRates()
        self._stop = asyncio.Event()
        self._changed = asyncio.Event()

    async def run(self, stop: asyncio.Event) -> None:
        """Consume until ``stop`` is set, then finish the current batches."""
        self._stop = stop
        async with asyncio.TaskGroup() as group:
            group.create_task(run_periodically("sources", self._refresh, stop, _REFRESH_SECONDS))
            group.create_task(run_periodically("lag", self._store_lag, stop, _LAG_SECONDS))
            group.create_task(
                run_periodically("announced outputs", self._expire, stop, _EXPIRE_SECONDS)
            )
            while not stop.is_set():
                await self._until_changed(stop)

    async def _refresh(self) -> bool:
        async with self._database.org_connection(self._org.id) as conn:
            sources = await load_sources(conn, self._org)
            quota = (await settings(conn, self._org.id)).events_per_second
        if sources.tables and not await has_log(self._connections.source_url):
            sources = replace(sources, tables={})  # no table has been attached yet
        if (sources, quota) != (self._sources, self._quota):
            self._sources, self._quota = sources, quota
            self._changed.set()
        return False

    async def _store_lag(self) -> bool:
        async with self._database.connection() as conn:
            await store_lag(conn, self._org.id, self._connections.name)
        return False

    async def _expire(self) -> bool:
        """Apply announced outputs of runs that never ended; true if more may be waiting."""
        readers = self._sources.readers_by_feed(self._register) if self._sources else {}
        runs = [reports for feed, reader in readers.items() for reports in reader.runs(feed)]
        if not runs:
            return False
        written = await self._ingest(Batch(consumer=self._connections.name, runs=tuple(runs)))
        return written.unnamed_runs > 0

    async def _until_changed(self, stop: asyncio.Event) -> None:
        """Run the consumers of the current sources until those change or ``stop`` is set."""
        self._changed.clear()
        halt = asyncio.Event()
        async with asyncio.TaskGroup() as group:
            for consumer in self._consumers(self._sources) if self._sources else ():
                group.create_task(consumer.run(halt))
            await unless_stopped(stop, self._changed.wait())
            halt.set()

    def _consumers(self, sources: Sources) -> Iterator[_Consumer]:
        if sources.topics:
            yield from self._kafka(sources)
        if sources.tables:
            _log.info("following tables", tables=sorted(sources.tables))
            yield PostgresConsumer(
                self._connections.source_url,
                Tenant(str(self._org.id), self._connections.name),
                self._ingest,
                self._positions,
                poll_seconds=self._connections.poll_seconds,
                heartbeat_seconds=self._connections.heartbeat_seconds,
                datasets=frozenset(sources.tables.values()),
                page=self._batch_size(PAGE),
            )

    @retrying(_is_position_lost, attempts=10).wraps
    async def rewind(self, origin: Origin) -> list[Advance]:
        """Move the stored positions of all topics to ``origin``; returns the moves.

        Safe while consumers run: they discard unwritten batches and resume from the new positions.
        Raises ServiceUnavailable, and InvalidInput if no broker is configured.
        """
        async with self._database.org_connection(self._org.id) as conn:
            sources = await load_sources(conn, self._org)
        settings = self._kafka_settings(sources)
        if settings is None:
            raise InvalidInput("no Kafka broker is configured: set KNOCKON_KAFKA_BOOTSTRAP_SERVERS")
        moved = await rewinds(settings, self._positions, origin)
        if moved:
            await self._ingest(Batch(consumer=settings.name, advances=tuple(moved)))
        return moved

    def _kafka(self, sources: Sources) -> Iterator[_Consumer]:
        settings = self._kafka_settings(sources)
        if settings is None:
            _log.warning(
                "topics are not read: set KNOCKON_KAFKA_BOOTSTRAP_SERVERS",
                topics=sorted(sources.topics),
            )
        elif settings.readers:
            _log.info("reading topics", topics=sorted(settings.readers), group=settings.name)
            yield KafkaConsumer(settings, self._ingest_as(sources), self._positions)

    def _kafka_settings(self, sources: Sources) -> KafkaSettings | None:
        connections = self._connections
        if connections.bootstrap_servers is None:
            return None
        return KafkaSettings(
            bootstrap_servers=connections.bootstrap_servers,
            name=connections.name,
            readers=sources.readers(self._register),
            start=connections.start,
            fetch_max_wait_ms=connections.client.get("fetch_max_wait_ms", 500),
            security=connections.security,
            dead_letter_topic=connections.dead_letter_topic,
            dead_letter_topics=sources.dead_letter_topics(),
            client=connections.client,
            reports_losses=connections.reports_losses,
            batch_size=self._batch_size(BATCH_SIZE),
        )

    def _batch_size(self, most: int) -> int:
        """Return the size of batches, each of which delays the next for a few seconds at most."""
        return most if self._quota is None else min(most, self._quota * _PACED_SECONDS)

    def _ingest_as(self, sources: Sources) -> Ingest:
        """A function that writes batches read with these sources, while those are deployed.

        Messages read before a deploy are read again, because a changed partitioning assigns them to
        other partitions.
        """
        confirmed = -1

        async def confirm(conn: Connection) -> None:
            nonlocal confirmed
            epoch = await lineage_epoch(conn, self._org.id)
            if epoch == confirmed:
                return
            if (await load_sources(conn, self._org)).topics != sources.topics:
                raise _SourcesChanged("a deploy changed the sources; messages are read again")
            confirmed = epoch

        async def write(batch: Batch, rejected: Rejected) -> Ingested:
            try:
                return await self._ingest(batch, rejected, confirm)
            except _SourcesChanged:
                await self._refresh()
                raise

        return write

    async def _ingest(
        self, batch: Batch, rejected: Rejected | None = None, confirm: Confirm | None = None
    ) -> Ingested:
        async with self._database.org_connection(self._org.id) as conn:
            began = perf_counter()
            written = await ingest(conn, self._org, batch, rejected, confirm)
        report(batch, written, perf_counter() - began)
        read = sum(received.count for received in batch.received) + len(batch.rejections)
        await self._pace(read)
        return written

    async def _pace(self, events: int) -> None:
        """Wait until the quota of the org permits further events; other orgs are not delayed."""
        seconds = self._rates.debt(self._org.id, self._quota, events) if events else 0.0
        if seconds:
            DELAYED_SECONDS.labels(self._connections.name).inc(seconds)
            await pause(self._stop, seconds)

    async def _register(self, discovered: Sequence[DiscoveredDataset]) -> list[DiscoveredDataset]:
        async with self._database.org_connection(self._org.id) as conn:
            registered = await auto_register(conn, self._org, discovered)
        _log.info("datasets registered", datasets=[dataset.dataset for dataset in registered])
        return registered

    async def _positions(self) -> Mapping[str, str]:
        async with self._database.org_connection(self._org.id) as conn:
            rows = await fetch(
                conn,
                "positions.stored",
                StoredPosition,
                org_id=self._org.id,
                consumer=self._connections.name,
            )
        return {row.stream: row.position for row in rows}


async def has_log(source_url: str, seconds: float = ANSWER_SECONDS) -> bool:
    """Check that a source database has a change log: a table has been attached at some time.

    Raises psycopg's errors, also if the source does not answer within ``seconds``.
    """
    async with await connect(source_url, seconds) as source:
        with disconnect_after(source, seconds):
            cursor = await source.execute(
                "SELECT to_regclass('knockon_source.readers') IS NOT NULL"
            )
            return bool((await cursor.fetchone() or [False])[0])
