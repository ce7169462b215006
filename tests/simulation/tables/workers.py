"""Tasks of the SQL operator: claimed, run, interrupted, failed."""

from __future__ import annotations

from collections import defaultdict
from collections.abc import AsyncIterator, Awaitable, Callable, Mapping
from contextlib import asynccontextmanager
from random import Random
from typing import Any

from engine.errors import InvalidInput, LeaseLost, TaskFailed
from engine.flow.execution.fail import fail
from engine.model.task import Lease
from engine.store.database import Connection, Database
from engine.worker import Context
from engine.worker.operators import operator_named
from tests.simulation.crashes import Crash, interrupted
from tests.simulation.dimensions import Key, read_text
from tests.simulation.tables.content import key_of
from tests.simulation.tables.minimal import Change, Changes, Rows, differing
from tests.simulation.tables.state import TableState

STATEMENTS = 8
"""Approximate number of statements in a run."""


class Interrupted(Database):
    """A database running an action before a statement of the next run."""

    def __init__(
        self, database: Database, index: int, action: Callable[[], Awaitable[None]]
    ) -> None:
        super().__init__(database.url, database._pool)
        self._index = index
        self._action = action

    @asynccontextmanager
    async def foreign_transaction(self) -> AsyncIterator[Connection]:
        """Lend a connection for an interrupted transaction."""
        async with super().foreign_transaction() as conn:
            with interrupted(conn, self._index, self._action):
                yield conn


class Workers:
    """Held leases, and runs of their tasks by the operator."""

    def __init__(self, state: TableState, changes: Changes) -> None:
        self.state = state
        self.changes = changes
        self.leases: list[tuple[Lease, int]] = []
        """Leases with the time of their claim."""
        self._content: defaultdict[str, dict[Key, Rows]] = defaultdict(dict)

    async def claim(self, limit: int) -> bool:
        """Claim tasks, checking the reason for each."""
        leases = await self.state.engine.claim(limit)
        for lease in leases:
            self.state.log_line(f"claim {lease_text(lease)}", "tables: tasks")
            self.changes.check(self.state.world, lease)
            self.leases.append((lease, self.state.now))
        return bool(leases)

    def chosen(self, rng: Random) -> tuple[Lease, int] | None:
        """Take a random lease."""
        return self.leases.pop(rng.randrange(len(self.leases))) if self.leases else None

    async def run(self, lease: Lease, claimed: int, database: Database | None = None) -> None:
        """Run a task to completion or failure."""
        self.state.log_line(f"run {lease_text(lease)}")
        engine = self.state.engine
        context = Context(lease, database or engine.database, engine.org)
        for output in lease.outputs:
            await self._content_of(output.name)
        try:
            await operator_named(lease.job.operator).run(context)
        except LeaseLost:
            self.state.log_line("… lease lost", "tables: lease lost")
        except (TaskFailed, InvalidInput) as error:
            self.state.log_line(f"… failed: {error}", "tables: attempt failed")
            await self.fail(lease, str(error))
        else:
            await self._accepted(lease, claimed)

    async def crash(self, rng: Random, lease: Lease, claimed: int) -> None:
        """Crash during a run; its transaction is rolled back, and its lease stays."""

        async def crash() -> None:
            raise Crash

        at = rng.randrange(STATEMENTS)
        try:
            await self.run(lease, claimed, Interrupted(self.state.engine.database, at, crash))
        except Crash:
            self.state.log_line(f"… crashed before statement {at}", "tables: crash during a run")

    async def fail(self, lease: Lease, error: str) -> None:
        async with self.state.engine.conn() as conn:
            try:
                await fail(conn, self.state.engine.org, lease, error, retryable=True)
            except LeaseLost:
                self.state.log_line("… lease lost", "tables: lease lost")

    async def _accepted(self, lease: Lease, claimed: int) -> None:
        job = self.state.world.world.by_name[lease.job.name]
        keys = {key for text in lease.partitions for key in read_text(job.space, text)}
        version = lease.outputs[0].version
        for output in lease.outputs:
            before, after = self._content[output.name], await self._content_of(output.name)
            for key in keys:
                self._record(version, output.name, key, before.get(key, ()), after.get(key, ()))
        self.changes.built.update(dict.fromkeys(((version, key) for key in keys), claimed))
        self.state.counts["tables: tasks completed"] += 1

    def _record(self, version: Any, dataset: str, key: Key, before: Rows, after: Rows) -> None:
        is_first = (version, key) not in self.changes.built
        columns = None if is_first else differing(before, after)
        self.state.counts["tables: content unchanged"] += columns == frozenset()
        if columns != frozenset():
            self.changes.changed[dataset].append(Change(self.state.now, key, columns))

    async def _content_of(self, dataset: str) -> dict[Key, Rows]:
        """Read the table of an output, by partition."""
        job = self.state.world.world.producers[dataset]
        rows_by_key: dict[Key, list[Mapping[str, object]]] = defaultdict(list)
        for row in await self.state.table(dataset):
            rows_by_key[key_of(job.space, row)].append(row)
        self._content[dataset] = {**rows_by_key}
        return self._content[dataset]


def lease_text(lease: Lease) -> str:
    """Return the job and the partitions of a lease."""
    return f"{lease.job.name}[{','.join(lease.partitions)}]"
