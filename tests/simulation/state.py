"""Shared state of all actors in a simulation: database, data, ledger, and interruptions.

The data are kept here, not in Knockon. Nothing here reads the clock.
"""

from __future__ import annotations

import asyncio
from collections import Counter, defaultdict
from collections.abc import AsyncIterator, Awaitable, Callable, Iterable, Sequence
from contextlib import asynccontextmanager
from dataclasses import dataclass, field
from datetime import datetime, timedelta
from random import Random
from typing import Any, TypeVar
from uuid import UUID

import psycopg

from engine.flow.shared.org_context import OrgContext
from engine.model.event import SourceEvent
from engine.model.states import PauseKind
from engine.store.database import Connection, Database
from tests.simulation.being import possible
from tests.simulation.clock import set_clock
from tests.simulation.crashes import Crash, ResponseLost, interrupted
from tests.simulation.decisions import Decisions
from tests.simulation.dimensions import Key, read_text
from tests.simulation.ledger import Ledger
from tests.simulation.rows import Partitions, Rows
from tests.simulation.world import World

T = TypeVar("T")
Verb = Callable[[Connection], Awaitable[T]]

ENGINES = 2
CRASH_RATE = 0.10
INTERRUPTION_RATE = 0.10
STATEMENTS = {"plan": 14, "claim": 9, "finish": 11, "deploy": 40, "ingest": 6, "fail": 12}
"""Approximate maximum number of statements by verb; 7 by default."""
SINGLE_RUN_KEY: Key = ("(single run)",)
"""Key representing the entire output of a single-run job."""

_SESSION = "SELECT pid FROM pg_stat_activity WHERE pid = %(pid)s"
_EXISTING = """
SELECT c.name, p.partition_key FROM current_datasets c JOIN partition_versions p
ON p.dataset_uuid = c.dataset_uuid AND p.dataset_version = c.dataset_version
WHERE c.org_id = %(org)s
"""
_PLANNED_OR_DECIDED = """
SELECT c.name, unnest(t.partitions) AS partition_key FROM current_datasets c
JOIN jobs j ON c.name = ANY(j.output_datasets)
JOIN tasks t ON t.job_id = j.id AND t.status IN ('blocked', 'queued', 'running', 'failed')
WHERE c.org_id = %(org)s AND t.org_id = %(org)s
UNION ALL
SELECT c.name, d.partition_key FROM current_datasets c JOIN stale_decisions d
ON d.dataset_uuid = c.dataset_uuid AND d.dataset_version = c.dataset_version
WHERE c.org_id = %(org)s
"""


@dataclass
class SimulationState:
    """A world in a database, in its own org."""

    database: Database
    world: World
    org: UUID
    is_calm: bool = False
    """No crash or interruption occurs unless a step requests it."""
    has_report_gaps: bool = False
    """Workers leave gaps in their reports."""
    log: list[str] = field(default_factory=list)
    counts: Counter[str] = field(default_factory=Counter)
    skew: timedelta = timedelta()
    now: int = 0
    moment: datetime | None = None
    """The time by which partitions come into being; None: the real time, after all windows."""

    def __post_init__(self) -> None:
        self.first_moment = self.moment
        self.possible: defaultdict[str, set[Key]] = defaultdict(set)
        """Partitions ever in being, by dataset."""
        self.org_contexts = [OrgContext(self.org) for _ in range(ENGINES)]
        self.ledger = Ledger()
        self.decisions = Decisions()
        self.batches: dict[UUID, Sequence[SourceEvent]] = {}
        """Ingested events by invalidation."""
        self.paused: set[tuple[PauseKind, str]] = set()
        """Paused jobs, datasets and org."""
        self.interrupted_verb: str | None = None
        """Verb to be interrupted by another."""
        self.edited: defaultdict[str, set[Key]] = defaultdict(set)
        """Partitions with rows written since their last completed run."""
        self.partial_writes: defaultdict[str, set[Key]] = defaultdict(set)
        """Partitions written by an incomplete attempt, with unknown content."""
        self.unannounced: defaultdict[str, set[Key]] = defaultdict(set)
        """Partitions edited and not rebuilt since, without an event invalidating their readers."""
        self.announced: defaultdict[str, set[Key]] = defaultdict(set)
        """Partitions of sources named by planned events."""
        self.retained: defaultdict[str, set[Key]] = defaultdict(set)
        """Partitions that existed, were planned or were left unbuilt by a decision at a deploy."""
        self.before_deploy: defaultdict[str, set[Key]] = defaultdict(set)
        """Partitions that existed, were planned or were left unbuilt before the last deploy."""
        self.removed: set[str] = set()
        """Partitions removed by deploys since the last check of the invariants."""
        self.sources: dict[str, dict[Key, Rows]] = defaultdict(dict)
        self.warehouse: dict[tuple[str, UUID], dict[Key, Rows]] = defaultdict(dict)
        self.versions: dict[str, UUID] = {}
        self.run_concurrent_verb: Callable[[Random], Awaitable[None]] | None = None
        self.writes = 0
        """Counter of possible writes, to avoid useless queries."""
        self.record_planned_events: Callable[[], Awaitable[None]] = record_nothing
        self._existing: tuple[int, dict[str, set[Key]]] | None = None
        self._depth = 0

    def data(self, dataset: str) -> Partitions:
        """Return the current content of a dataset."""
        if self.world.producers[dataset].is_source:
            return self.sources[dataset]
        return self.warehouse[dataset, self.versions[dataset]]

    def org_context(self, rng: Random | None = None) -> OrgContext:
        """Return the context of an engine."""
        return self.org_contexts[rng.randrange(ENGINES) if rng else 0]

    def log_line(self, line: str, count: str | None = None) -> None:
        """Log a line; counted lines measure the coverage of the simulation."""
        self.log.append(f"{self.now:4} {'    ' * self._depth}{line}")
        if count is not None:
            self.counts[count] += 1

    @asynccontextmanager
    async def connection(self) -> AsyncIterator[Connection]:
        async with self.database.connection() as conn:
            await set_clock(conn, self.skew)
            yield conn

    async def rows(self, statement: str, **params: Any) -> list[dict[str, Any]]:
        """Run a query."""
        async with self.connection() as conn:
            cursor = await conn.execute(statement.encode(), {"org": self.org, **params})
            return await cursor.fetchall()

    async def existing(self) -> dict[str, set[Key]]:
        """Return the existing partitions by dataset."""
        if self._existing is None or self._existing[0] != self.writes:
            self._existing = self.writes, await self._keys(_EXISTING)
        return self._existing[1]

    async def retain(self) -> None:
        """Record the partitions that a deploy may have to keep in new dataset versions."""
        self.before_deploy = defaultdict(set)
        for query in (_EXISTING, _PLANNED_OR_DECIDED):
            for name, keys in (await self._keys(query)).items():
                self.before_deploy[name] |= keys
                self.retained[name] |= keys

    async def _keys(self, query: str) -> dict[str, set[Key]]:
        keys: dict[str, set[Key]] = defaultdict(set)
        for row in await self.rows(query):
            producer = self.world.producers.get(row["name"])
            if producer is not None:
                keys[row["name"]] |= read_text(producer.space, row["partition_key"])
        return keys

    async def record_possible(self) -> None:
        """Record the partitions in being, or about to be."""
        if self.moment is not None:
            for name, keys in possible(self.world, await self.existing(), self.moment).items():
                self.possible[name] |= keys

    # -- verbs, crashes and interruptions ------------------------------------------------------

    async def do(self, name: str, verb: Verb[T], rng: Random | None = None) -> T:
        """Run a verb; with `rng` it may crash, or be interrupted by another verb."""
        self.now += 1
        self.writes += 1
        try:
            return await self._do(name, verb, rng)
        finally:
            self.writes += 1

    async def _do(self, name: str, verb: Verb[T], rng: Random | None) -> T:
        async with self.connection() as conn:
            if rng is None or (self.is_calm and self.interrupted_verb != name):
                return await verb(conn)
            chance, index = rng.random(), rng.randrange(STATEMENTS.get(name, 7))
            if chance < CRASH_RATE and self.interrupted_verb != name:
                return await self._crashing(conn, name, verb, index)
            if self.interrupted_verb == name:
                index = 1 + index % (STATEMENTS.get(name, 7) - 3)
            is_interrupted = (
                self.interrupted_verb == name or chance < CRASH_RATE + INTERRUPTION_RATE
            )
            if is_interrupted and not self._depth:
                with interrupted(conn, index, lambda: self._interrupt(name, rng)):
                    return await verb(conn)
            return await verb(conn)

    async def _crashing(self, conn: Connection, name: str, verb: Verb[T], index: int) -> T:
        """Crash before a statement, or after the commit if the verb has fewer statements."""

        async def crash() -> None:
            self.counts[f"crash during {name}"] += 1
            raise Crash

        pid = conn.info.backend_pid
        try:
            with interrupted(conn, index, crash):
                response = await verb(conn)
        finally:
            if conn.closed:
                await self._until_gone(pid)
        self.counts[f"crash after {name}"] += 1
        raise ResponseLost(response)

    async def _until_gone(self, pid: int) -> None:
        """Wait for the end of a closed session, which holds its locks until the server notices."""
        while await self.rows(_SESSION, pid=pid):  # noqa: ASYNC110
            await asyncio.sleep(0.001)

    async def _interrupt(self, name: str, rng: Random) -> None:
        """Run another actor's verb between two statements of a verb."""
        assert self.run_concurrent_verb is not None
        self.log_line(f"during {name}:", f"interruption of {name}")
        self._depth += 1
        try:
            await self.run_concurrent_verb(rng)
        finally:
            await self.record_planned_events()
            self._depth -= 1
            self.now += 1

    @asynccontextmanager
    async def tolerating_crashes(self) -> AsyncIterator[None]:
        """Continue after a crash or a lock timeout in the block."""
        try:
            yield
        except ResponseLost:
            self.log_line("… crashed before receiving the response", "crashes")
        except Crash:
            self.log_line("… crashed", "crashes")
        except psycopg.errors.LockNotAvailable:
            self.log_line("… lock timeout", "lock timeout")

    def record_events(self, invalidations: Iterable[UUID], events: Sequence[SourceEvent]) -> None:
        """Record the events that caused invalidations."""
        self.batches.update(dict.fromkeys(invalidations, events))


async def record_nothing() -> None:
    """Placeholder until the simulation is complete."""
