"""What all who act in a simulation share: the database, the data, the ledger, and the troubles.

The data live here and not in Knockon. Nothing here asks the clock.
"""

from __future__ import annotations

from collections import Counter, defaultdict
from collections.abc import AsyncIterator, Awaitable, Callable, Iterable, Sequence
from contextlib import asynccontextmanager
from dataclasses import dataclass, field
from datetime import timedelta
from random import Random
from typing import Any, TypeVar
from uuid import UUID

import psycopg

from engine.flow.shared.org_context import OrgContext
from engine.model.event import SourceEvent
from engine.store.database import Connection, Database
from tests.simulation.clock import set_clock
from tests.simulation.crashes import AnswerLost, Crash, interrupted
from tests.simulation.decisions import Decisions
from tests.simulation.dimensions import Key, read_text
from tests.simulation.ledger import Ledger
from tests.simulation.rows import Partitions, Rows
from tests.simulation.world import World

T = TypeVar("T")
Verb = Callable[[Connection], Awaitable[T]]

ENGINES = 2
CRASHES = 0.10
MEETINGS = 0.10
STATEMENTS = {"plan": 14, "claim": 9, "finish": 11, "deploy": 40, "ingest": 6, "fail": 12}
"""About how many a verb has, at most; others have fewer."""
SINGLE_RUN_KEY: Key = ("(single run)",)
"""Stands for everything that a job makes in one go."""

_EXISTING = """
SELECT c.name, p.partition_key FROM current_datasets c JOIN partition_versions p
ON p.dataset_uuid = c.dataset_uuid AND p.dataset_version = c.dataset_version
WHERE c.org_id = %(org)s
"""


@dataclass
class Stage:
    """A world on a database, in an org of its own."""

    database: Database
    world: World
    org: UUID
    is_calm: bool = False
    """Whether nothing dies or happens in the middle of a verb, but for what a step asks for."""
    is_terse: bool = False
    """Whether workers leave gaps in what they report."""
    log: list[str] = field(default_factory=list)
    counts: Counter[str] = field(default_factory=Counter)
    skew: timedelta = timedelta()
    now: int = 0

    def __post_init__(self) -> None:
        self.org_contexts = [OrgContext(self.org) for _ in range(ENGINES)]
        self.ledger = Ledger()
        self.decisions = Decisions()
        self.batches: dict[UUID, Sequence[SourceEvent]] = {}
        """By invalidation, the events that were ingested with it."""
        self.colliding: str | None = None
        """The verb that something else is to happen in the middle of."""
        self.edited: defaultdict[str, set[Key]] = defaultdict(set)
        """Partitions whose rows something has written since their last run."""
        self.spilled: defaultdict[str, set[Key]] = defaultdict(set)
        """Those written by an attempt that never completed: nothing is known of their content."""
        self.unannounced: defaultdict[str, set[Key]] = defaultdict(set)
        """Those edited and not rebuilt since, where no event invalidates their readers."""
        self.announced: defaultdict[str, set[Key]] = defaultdict(set)
        """The partitions of sources that planned events have named."""
        self.sources: dict[str, dict[Key, Rows]] = defaultdict(dict)
        self.warehouse: dict[tuple[str, UUID], dict[Key, Rows]] = defaultdict(dict)
        self.versions: dict[str, UUID] = {}
        self.meanwhile: Callable[[Random], Awaitable[None]] | None = None
        self.writes = 0
        """Moves with everything that may have been written, so that nobody looks in vain."""
        self.note_invalidations: Callable[[], Awaitable[None]] = nothing_to_note
        self._existing: tuple[int, dict[str, set[Key]]] | None = None
        self._depth = 0

    def data(self, dataset: str) -> Partitions:
        """What is there of a dataset now."""
        if self.world.makers[dataset].is_source:
            return self.sources[dataset]
        return self.warehouse[dataset, self.versions[dataset]]

    def org_context(self, dice: Random | None = None) -> OrgContext:
        """One of the engines."""
        return self.org_contexts[dice.randrange(ENGINES) if dice else 0]

    def say(self, line: str, count: str | None = None) -> None:
        """Write it into the log; what is counted shows how far the simulation reaches."""
        self.log.append(f"{self.now:4} {'    ' * self._depth}{line}")
        if count is not None:
            self.counts[count] += 1

    @asynccontextmanager
    async def connection(self) -> AsyncIterator[Connection]:
        async with self.database.connection() as conn:
            await set_clock(conn, self.skew)
            yield conn

    async def rows(self, statement: str, **params: Any) -> list[dict[str, Any]]:
        """Look into the tables."""
        async with self.connection() as conn:
            cursor = await conn.execute(statement.encode(), {"org": self.org, **params})
            return await cursor.fetchall()

    async def existing(self) -> dict[str, set[Key]]:
        """By dataset, the partitions that exist."""
        if self._existing is None or self._existing[0] != self.writes:
            self._existing = self.writes, await self._look_what_exists()
        return self._existing[1]

    async def _look_what_exists(self) -> dict[str, set[Key]]:
        found: dict[str, set[Key]] = defaultdict(set)
        for row in await self.rows(_EXISTING):
            maker = self.world.makers.get(row["name"])
            if maker is not None:
                found[row["name"]] |= read_text(maker.space, row["partition_key"])
        return found

    # -- verbs and their troubles --------------------------------------------------------------

    async def do(self, name: str, verb: Verb[T], dice: Random | None = None) -> T:
        """Do a verb; with dice it may die on its way (Crash), or have something happen inside."""
        self.now += 1
        self.writes += 1
        try:
            return await self._do(name, verb, dice)
        finally:
            self.writes += 1

    async def _do(self, name: str, verb: Verb[T], dice: Random | None) -> T:
        async with self.connection() as conn:
            if dice is None or (self.is_calm and self.colliding != name):
                return await verb(conn)
            chance, at = dice.random(), dice.randrange(STATEMENTS.get(name, 7))
            if chance < CRASHES and self.colliding != name:
                return await self._dying(conn, name, verb, at)
            if self.colliding == name:
                at = 1 + at % (STATEMENTS.get(name, 7) - 3)
            is_met = self.colliding == name or chance < CRASHES + MEETINGS
            if is_met and not self._depth:
                with interrupted(conn, at, lambda: self._meet(name, dice)):
                    return await verb(conn)
            return await verb(conn)

    async def _dying(self, conn: Connection, name: str, verb: Verb[T], at: int) -> T:
        """Die before a statement, or after the commit where the verb has not so many."""

        async def crash() -> None:
            self.counts[f"crash in the middle of {name}"] += 1
            raise Crash

        with interrupted(conn, at, crash):
            answer = await verb(conn)
        self.counts[f"crash after {name}"] += 1
        raise AnswerLost(answer)

    async def _meet(self, name: str, dice: Random) -> None:
        """Have somebody else do something in the middle of a verb."""
        assert self.meanwhile is not None
        self.say(f"in the middle of {name}:", f"meeting in the middle of {name}")
        self._depth += 1
        try:
            await self.meanwhile(dice)
        finally:
            await self.note_invalidations()
            self._depth -= 1
            self.now += 1

    @asynccontextmanager
    async def surviving(self) -> AsyncIterator[None]:
        """Whatever dies or has to wait in here, the rest goes on."""
        try:
            yield
        except AnswerLost:
            self.say("… died before it knew", "crashes")
        except Crash:
            self.say("… crashed", "crashes")
        except psycopg.errors.LockNotAvailable:
            self.say("… had to wait for somebody else, and gave up", "had to wait and gave up")

    def remember(self, invalidations: Iterable[UUID], events: Sequence[SourceEvent]) -> None:
        """Keep the events that invalidations were written for."""
        self.batches.update(dict.fromkeys(invalidations, events))


async def nothing_to_note() -> None:
    """Stand in until the simulation is complete."""
