"""All the consumers of an org, as its deployed DAGs ask for them; a deploy starts them anew."""

import asyncio
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass, field, replace
from time import perf_counter
from typing import Any, Protocol

import structlog
from psycopg import AsyncConnection

from consumers.kafka import Ingest, KafkaConsumer, KafkaSettings, Origin, Start, moves
from consumers.kafka.batches import feed_of
from consumers.metrics import count
from consumers.postgres.listener import PostgresConsumer
from consumers.postgres.triggers import Tenant
from consumers.sources import Sources, load_sources
from engine.errors import InvalidInput, PositionLost
from engine.flow.ingest import Confirm, Ingested, Rejected, ingest
from engine.flow.register import register
from engine.flow.scene import Scene
from engine.loops.periodic import run_periodically
from engine.model.event import Advance, Batch
from engine.model.heard import Heard
from engine.retries import retrying
from engine.store.database import Connection, Database
from engine.store.orgs import lineage_epoch
from engine.store.run import fetch

_log = structlog.get_logger(__name__)
_LOOK_SECONDS = 2.0
_EXPIRE_SECONDS = 60.0


class _SourcesChanged(PositionLost):
    """A batch was read in a way that is no longer deployed."""


def _is_overtaken(error: BaseException) -> bool:
    return isinstance(error, PositionLost)


class _Consumer(Protocol):
    async def run(self, stop: asyncio.Event) -> None: ...


@dataclass(frozen=True, slots=True, kw_only=True)
class Wiring:
    """Where the sources are. ``name`` is the consumers' in the ledger, and the Kafka group.

    ``bootstrap_servers`` None: no topics are read. ``start``, ``security``, ``dead_letter_topic``
    and ``client`` are as in KafkaSettings.
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


class Consumers:
    """Runs what the DAGs ask for, and looks every two seconds whether that is still the same."""

    def __init__(self, database: Database, scene: Scene, wiring: Wiring) -> None:
        self._database = database
        self._scene = scene
        self._wiring = wiring
        self._sources: Sources | None = None
        self._changed = asyncio.Event()

    async def run(self, stop: asyncio.Event) -> None:
        """Consume until ``stop`` is set; the batches in hand then are finished first."""
        async with asyncio.TaskGroup() as group:
            group.create_task(run_periodically("sources", self._look, stop, _LOOK_SECONDS))
            group.create_task(
                run_periodically("announced outputs", self._expire, stop, _EXPIRE_SECONDS)
            )
            while not stop.is_set():
                await self._until_changed(stop)

    async def _look(self) -> bool:
        async with self._database.connection() as conn:
            sources = await load_sources(conn, self._scene)
        if sources.tables and not await has_log(self._wiring.source_url):
            sources = replace(sources, tables={})  # until the first one is attached
        if sources != self._sources:
            self._sources = sources
            self._changed.set()
        return False

    async def _expire(self) -> bool:
        """Count announced outputs whose runs have not ended in time; true while there are more."""
        readers = self._sources.readers(self._register) if self._sources else {}
        runs = [each for topic, reader in readers.items() for each in reader.runs(feed_of(topic))]
        if not runs:
            return False
        written = await self._ingest(Batch(consumer=self._wiring.name, runs=tuple(runs)))
        return written.unnamed_runs > 0

    async def _until_changed(self, stop: asyncio.Event) -> None:
        """Run the consumers of the sources as they are, until they are others or it is over."""
        self._changed.clear()
        halt = asyncio.Event()
        async with asyncio.TaskGroup() as group:
            for consumer in self._consumers(self._sources) if self._sources else ():
                group.create_task(consumer.run(halt))
            await _either(stop, self._changed)
            halt.set()

    def _consumers(self, sources: Sources) -> Iterator[_Consumer]:
        if sources.topics:
            yield from self._kafka(sources)
        if sources.tables:
            _log.info("following tables", tables=sorted(sources.tables))
            yield PostgresConsumer(
                self._wiring.source_url,
                self._tenant,
                self._ingest,
                self._positions,
                poll_seconds=self._wiring.poll_seconds,
                heartbeat_seconds=self._wiring.heartbeat_seconds,
                datasets=frozenset(sources.tables.values()),
            )

    @property
    def _tenant(self) -> Tenant:
        return Tenant(str(self._scene.org_id), self._wiring.name)

    @retrying(_is_overtaken, attempts=10).wraps
    async def rewind(self, origin: Origin) -> list[Advance]:
        """Move the stored positions of all topics there; gives what moved.

        Safe while others consume: they drop what they have in hand and follow. Raises
        ServiceUnavailable, and InvalidInput where no broker is set.
        """
        async with self._database.connection() as conn:
            sources = await load_sources(conn, self._scene)
        settings = self._kafka_settings(sources)
        if settings is None:
            raise InvalidInput("no Kafka broker is set: set KNOCKON_KAFKA_BOOTSTRAP_SERVERS")
        moved = await moves(settings, self._positions, origin)
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
        wiring = self._wiring
        if wiring.bootstrap_servers is None:
            return None
        return KafkaSettings(
            bootstrap_servers=wiring.bootstrap_servers,
            name=wiring.name,
            readers=sources.readers(self._register),
            start=wiring.start,
            fetch_max_wait_ms=wiring.client.get("fetch_max_wait_ms", 500),
            security=wiring.security,
            dead_letter_topic=wiring.dead_letter_topic,
            dead_letter_topics=sources.dead_letter_topics(),
            client=wiring.client,
        )

    def _ingest_as(self, sources: Sources) -> Ingest:
        """Write batches that were read as these sources have it, as long as they are deployed.

        After a deploy messages are read again: cut otherwise, they mean other partitions.
        """
        confirmed = -1

        async def confirm(conn: Connection) -> None:
            nonlocal confirmed
            epoch = await lineage_epoch(conn, self._scene.org_id)
            if epoch == confirmed:
                return
            if (await load_sources(conn, self._scene)).topics != sources.topics:
                raise _SourcesChanged("a deploy changed the sources: messages are read again")
            confirmed = epoch

        async def write(batch: Batch, rejected: Rejected) -> Ingested:
            try:
                return await self._ingest(batch, rejected, confirm)
            except _SourcesChanged:
                await self._look()
                raise

        return write

    async def _ingest(
        self, batch: Batch, rejected: Rejected | None = None, confirm: Confirm | None = None
    ) -> Ingested:
        async with self._database.connection() as conn:
            began = perf_counter()
            written = await ingest(conn, self._scene, batch, rejected, confirm)
        count(batch, written, perf_counter() - began)
        if widened := batch.widened:
            _log.warning("widened events", count=len(widened), why=widened[0].note)
        if written.rejections:
            _log.warning(
                "dead letters", count=len(written.rejections), why=written.rejections[0].error
            )
        return written

    async def _register(self, heard: Sequence[Heard]) -> list[Heard]:
        async with self._database.connection() as conn:
            registered = await register(conn, self._scene, heard)
        _log.info("datasets registered", datasets=[each.dataset for each in registered])
        return registered

    async def _positions(self) -> Mapping[str, str]:
        async with self._database.connection() as conn:
            rows = await fetch(
                conn, "positions.stored", org_id=self._scene.org_id, consumer=self._wiring.name
            )
        return {row["stream"]: row["position"] for row in rows}


async def has_log(source_url: str) -> bool:
    """Whether any table of a source database has ever been attached. Raises psycopg's errors."""
    async with await AsyncConnection.connect(source_url, connect_timeout=5) as source:
        found = await source.execute("SELECT to_regclass('knockon_source.readers') IS NOT NULL")
        return bool((await found.fetchone() or [False])[0])


async def _either(*events: asyncio.Event) -> None:
    """Return when one of them is set."""
    waits = [asyncio.ensure_future(each.wait()) for each in events]
    await asyncio.wait(waits, return_when=asyncio.FIRST_COMPLETED)
    for each in waits:
        each.cancel()
    await asyncio.gather(*waits, return_exceptions=True)
