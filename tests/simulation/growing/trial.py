"""A random history of a world of growing tables.

The law: every output that the audit finds fresh equals its SELECT over the current input tables.
At the end, all stale outputs are recomputed, and every output must be fresh.
"""

from __future__ import annotations

from collections import Counter
from collections.abc import Awaitable, Callable
from dataclasses import dataclass, field
from random import Random
from typing import Any

from engine.errors import TaskFailed
from engine.flow.execution.cancel import cancel
from engine.flow.execution.fail import fail
from engine.flow.execution.retry import retry_failed
from engine.flow.ingestion.ingest import ingest
from engine.flow.planning.audit import audit
from engine.model.event import Batch, Delivery, Received, SourceEvent
from engine.model.states import Reason
from engine.store.database import Database
from tests.simulation.growing.generate import COLUMNS, DAYS, TABLES, GrowingWorld, growing_world
from tests.simulation.invariants import Broken
from tests.support.workers import run_lease
from tests.support.worlds import World

NEW_DAYS = 10_000
"""From this seed on, histories leave the last day to late rows."""
_MOST_TURNS = 50
_INSERT = "INSERT INTO s (id, seq, k, x, y, dt) VALUES (%s, %s, %s, %s, %s, %s)"
_WEIGHTS = Counter(
    insert=8, update=8, look_up=3, plan=10, run=10, cancel=2, fail=1, retry=1, rest=4
)
_LEAVE_UNREAD = ("insert", "plan", "cancel", "rest")
_DRILLS = (
    (*_LEAVE_UNREAD, "update", "rest"),
    (*_LEAVE_UNREAD, "update", "rest", "insert", "rest", "update", "rest"),
    ("insert", "insert", "rest", "update", "plan", "cancel", "rest", "insert", "rest"),
)
"""Drills: rows left unread by a cancellation, before runs on other rows."""


@dataclass
class GrowingTrial:
    """A world with its history, and its outcome after `run`."""

    world: GrowingWorld
    rng: Random
    late: Random
    """Choices of late rows, apart from ``rng`` so that they change no other part of a history."""
    days: tuple[str, ...] = DAYS
    failure: Exception | None = None
    log: list[str] = field(default_factory=list)
    counts: Counter[str] = field(default_factory=Counter)

    @staticmethod
    def of(seed: int) -> GrowingTrial:
        """Generate the trial of a seed."""
        history, late = Random(f"growing history {seed}"), Random(f"growing late rows {seed}")
        return GrowingTrial(growing_world(seed), history, late, DAYS[: 3 - (seed >= NEW_DAYS)])

    async def run(self, database: Database) -> GrowingTrial:
        """Run the history in an empty database, recording any error as its failure."""
        async with database.connection() as conn:
            for statement in TABLES:
                await conn.execute(statement.encode())
        history = _History(await World.made(database, *self.world.jobs), self)
        try:
            await history.run()
        except Exception as error:
            self.failure = error
        return self


class _History:
    def __init__(self, world: World, trial: GrowingTrial) -> None:
        self.world = world
        self.trial = trial
        self.rng = trial.rng
        self._rows = 0
        self._keys: list[str] = []
        verbs = (
            *(self.insert, self.update, self.look_up, self.plan, self.run_one),
            *(self.cancel, self.fail, self.retry, self.rest),
        )
        self._verbs: dict[str, Callable[[], Awaitable[None]]] = {
            verb.__name__.removesuffix("_one"): verb for verb in verbs
        }

    async def run(self) -> None:
        names = sorted(_WEIGHTS)
        drawn = self.rng.choices(names, [_WEIGHTS[name] for name in names], k=30)
        drill = self.rng.choice(_DRILLS)
        for name in ["insert", "look_up", "rest", *drawn, "rest", *drill, "rest"]:
            await self._verbs[name]()
            self.trial.counts[name] += 1
        for _ in range(3):
            await self.insert_late()
            await self.rest()
        await self._recompute_stale()

    # -- changes of sources --------------------------------------------------------------------

    async def insert(self) -> None:
        """Insert rows, some with a new key, which sorts after all others."""
        days = set()
        for _ in range(self.rng.choice([1, 1, 2])):
            self._rows += 1
            key, day = self._key(), self.rng.choice(self.trial.days)
            values = self._rows, key, self.rng.randrange(4), self.rng.randrange(4), day
            await self._execute(_INSERT, self._rows, *values)
            days.add(day)
        await self._event("s", days, reason="arrival")

    def _key(self) -> str:
        """Return a key in use, or the next one: followers read keys in order."""
        if not self._keys or (self.rng.random() < 0.3 and len(self._keys) < 8):
            self._keys.append(str(len(self._keys) + 1))
            return self._keys[-1]
        return self.rng.choice(self._keys)

    async def insert_late(self) -> None:
        """Insert a row before the cursors of all followers, announced with conditions."""
        late = self.trial.late
        self._rows += 1
        used = {row["dt"] for row in await self.world.rows("SELECT DISTINCT dt::text FROM s")}
        days = sorted({*DAYS} - used) or DAYS
        row = {"id": self._rows, "seq": 0, "k": late.choice(self._keys), "x": late.randrange(4)}
        row |= {"y": late.randrange(4), "dt": late.choice(days)}
        await self._execute(_INSERT, *row.values())
        rows = {name: row[name] for name in [late.choice(["id", "seq", "k", "dt"])]}
        scopes: dict[str, dict[str, Any]] = {
            "late": {"rows": rows},
            "late, with conditions on changed columns": {"rows": rows, "columns": tuple(row)},
            "late, with conditions on unknown columns": {"rows": {"K": row["k"]}},
        }
        if self._is_daily and days is not DAYS:
            scopes = {"late, in a new partition": {"rows": rows, "partitions": (row["dt"],)}}
        kind = late.choice(sorted(scopes))
        event = SourceEvent(dataset="s", reason=Reason.ARRIVAL, **scopes[kind])
        self.trial.log.append(f"{kind}: {row} {scopes[kind]}")
        received = Received.one(event, Delivery("kafka/s/0", str(self._rows)))
        async with self.world.conn() as conn:
            await ingest(conn, self.world.org, Batch(consumer="k", received=(received,)))
        self.trial.counts[kind] += 1

    async def update(self) -> None:
        """Change values of one row or key, with a row filter or without."""
        if not self._rows:
            return
        chosen = self.rng.randint(1, self._rows)
        (row,) = await self.world.rows("SELECT id, seq, k, dt FROM s WHERE id = %s", chosen)
        column = self.rng.choice(["x", "y"])
        await self._execute(
            f"UPDATE s SET {column} = %s WHERE id = %s", self.rng.randrange(4), chosen
        )
        more: dict[str, Any] = {"reason": self.rng.choice(["change", "correction"])}
        if self.rng.random() < 0.5:
            more["columns"] = (column,)
        if self.rng.random() < 0.8:
            more["rows"] = self._filter(row)
        await self._event("s", {str(row["dt"])}, **more)

    def _filter(self, row: dict[str, Any]) -> dict[str, Any]:
        """Return a filter for a row, in one of many forms, some of which select more rows."""
        ident, day = row["id"], str(row["dt"])
        return self.rng.choice(
            [
                {"id": ident},
                {"id": {"in": [ident, ident + 1]}},
                {"id": {"gte": ident, "lte": ident}},
                {"seq": {"gt": ident - 1}},
                {"k": row["k"]},
                {"k": int(row["k"])},
                {"k": {"in": [row["k"], "9"]}},
                {"dt": day},
                {"dt": {"gte": day, "lte": day}},
                {"id": ident, "k": row["k"]},
            ]
        )

    async def look_up(self) -> None:
        """Change or add the value of a key in the lookup table."""
        key, value = self.rng.choice(self._keys), self.rng.randrange(4)
        await self._execute("DELETE FROM l WHERE k = %s", key)
        await self._execute("INSERT INTO l VALUES (%s, %s)", key, value)
        rows = self.rng.choice([None, {"k": key}])
        await self._event("l", set(), reason="change", rows=rows)

    async def _event(self, dataset: str, days: set[str], **more: Any) -> None:
        is_named = bool(days) and dataset == "s" and self.rng.random() < 0.7
        partitions = sorted(days) if is_named and self._is_daily else []
        self.trial.log.append(f"{dataset} {partitions} {more}")
        await self.world.change(dataset, *partitions, **more)

    @property
    def _is_daily(self) -> bool:
        return bool(self.trial.world.jobs[0]["outputs"][0]["partitioning"])

    # -- engine and workers --------------------------------------------------------------------

    async def plan(self) -> None:
        await self.world.plan()

    async def run_one(self) -> None:
        for lease in await self.world.claim(limit=1):
            await self._run(lease)

    async def _run(self, lease: Any) -> None:
        self.trial.log.append(f"run {lease.job.name}{lease.partitions} {lease.row_filters}")
        try:
            await run_lease(self.world, lease)
        except TaskFailed as error:
            raise Broken("a SELECT of the world fails", str(error)) from error

    async def cancel(self) -> None:
        """Cancel an unfinished task, so that its partitions stay stale by decision."""
        if task := await self._chosen("status IN ('queued', 'blocked')"):
            self.trial.log.append("cancel")
            async with self.world.conn() as conn:
                await cancel(conn, self.world.org, task)

    async def fail(self) -> None:
        for lease in await self.world.claim(limit=1):
            self.trial.log.append(f"fail {lease.job.name}")
            async with self.world.conn() as conn:
                await fail(conn, self.world.org, lease, "it broke", retryable=False)

    async def retry(self) -> None:
        async with self.world.conn() as conn:
            await retry_failed(conn, self.world.org)

    async def _chosen(self, condition: str) -> Any:
        rows = await self.world.rows(f"SELECT id FROM tasks WHERE {condition} ORDER BY id")
        return self.rng.choice(rows)["id"] if rows else None

    # -- the law -------------------------------------------------------------------------------

    async def rest(self) -> None:
        """Complete all work, and check every output that is fresh."""
        self.trial.log.append("rest")
        for _ in range(_MOST_TURNS):
            planned = await self.world.plan()
            leases = await self.world.claim()
            for lease in leases:
                await self._run(lease)
            if not leases and planned is None:
                break
        else:
            raise Broken("it never comes to rest", self._rows)
        stale = await self._stale()
        for name, select in self.trial.world.selects.items():
            if name not in stale:
                await self._compare(name, select)

    async def _stale(self) -> set[str]:
        stale = set()
        async with self.world.conn() as conn:
            async for part in audit(conn, self.world.org):
                for partition in part.lost:
                    raise Broken("the audit finds nothing lost", partition)
                stale |= {partition.dataset for partition in part.stale}
        self.trial.counts["stale by decision"] += len(stale)
        return stale

    async def _compare(self, name: str, select: str) -> None:
        columns = COLUMNS[name]
        expected = await self.world.rows(f"SELECT {columns} FROM ({select}) AS q ORDER BY 1")
        (relation,) = await self.world.rows("SELECT to_regclass(%s) AS oid", name)
        stored = []
        if relation["oid"] is not None:
            stored = await self.world.rows(f"SELECT {columns} FROM {name} ORDER BY 1")
        self.trial.counts["compared"] += 1
        if stored != expected:
            missing = [row for row in expected if row not in stored]
            what = name, missing, [row for row in stored if row not in expected]
            raise Broken("sound: a fresh table is not what its SELECT gives", what)

    async def _recompute_stale(self) -> None:
        """Invalidate what a decision left stale; every output must be correct and fresh."""
        for _ in range(len(self.trial.world.selects) + 1):
            async with self.world.conn() as conn:
                await retry_failed(conn, self.world.org)
            await self.rest()
            stale = await self._stale()
            if not stale:
                return
            for name in sorted(stale):
                await self.world.change(name, reason="manual")
        raise Broken("recomputed outputs stay stale", sorted(stale))

    async def _execute(self, statement: str, *values: Any) -> None:
        async with self.world.conn() as conn:
            await conn.execute(statement.encode(), values)
