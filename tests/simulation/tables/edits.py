"""Edits of real source tables, each with an event naming columns, rows and partitions."""

from __future__ import annotations

from collections.abc import Awaitable, Callable, Collection, Mapping, Sequence
from dataclasses import dataclass, field
from datetime import timedelta
from random import Random
from typing import Any

from engine.model.event import SourceEvent
from engine.store.database import Database
from tests.simulation.dimensions import Dimension, Key, text, universe
from tests.simulation.tables.content import first_day, key_of, next_day, quoted
from tests.simulation.tables.dag import table_of
from tests.simulation.tables.generate import GROUPED, NUMBERS, TableWorld
from tests.simulation.world import Job

_VALUES = (None, 0, 1, 2, 3)
_Edit = Callable[[Random, Job, dict[str, Any]], Awaitable[SourceEvent]]


@dataclass
class Edits:
    """Inserts, updates and deletes of rows, returning unpublished events."""

    database: Database
    world: TableWorld
    schema: str
    named_by_events: dict[str, set[Key]] = field(default_factory=dict)
    """Partitions named by events, by source."""
    _existing: Mapping[str, set[Key]] = field(default_factory=dict)
    _last_id: int = 0

    async def edit(self, rng: Random, existing: Mapping[str, set[Key]]) -> tuple[str, SourceEvent]:
        """Change a source; returns the kind of change and the event."""
        self._existing = existing
        job = rng.choice(self.world.world.sources)
        rows = await self._rows(job)
        if not rows or rng.random() < 0.25:
            return "insert", await self._insert(rng, job)
        kinds: dict[str, _Edit] = {
            "update": self._update_some,
            "delete": self._delete,
            "move": self._move,
            "regroup": self._regroup,
        }
        kind = rng.choice(["update"] * 6 + [*kinds] + ["delete"])
        return kind, await kinds[kind](rng, job, rng.choice(rows))

    async def touch(self, rng: Random, existing: Mapping[str, set[Key]]) -> SourceEvent:
        """Change a single value in a row, or insert the first rows of a source."""
        self._existing = existing
        job = rng.choice(self.world.world.sources)
        rows = await self._rows(job)
        if not rows:
            return await self._insert(rng, job)
        row, column = rng.choice(rows), rng.choice(NUMBERS)
        value = rng.choice([other for other in _VALUES if other != row[column]])
        return await self._update(rng, job, row, {column: value})

    async def _insert(self, rng: Random, job: Job) -> SourceEvent:
        key = rng.choice(sorted(universe(job.space)))
        for _ in range(rng.choice([1, 2, 3])):
            self._last_id += 1
            row = {"id": self._last_id, "k": rng.choice(job.alphabet)}
            row |= {column: rng.choice(_VALUES) for column in NUMBERS}
            row |= {d.name: _value(rng, d, part) for d, part in zip(job.space, key, strict=True)}
            names, values = ", ".join(map(quoted, row)), ", ".join(f"%({name})s" for name in row)
            await self._run(f"INSERT INTO {self._table(job)} ({names}) VALUES ({values})", **row)
        return self._event(rng, job, [key], None, None)

    async def _update_some(self, rng: Random, job: Job, row: dict[str, Any]) -> SourceEvent:
        """Change one or two columns of a row."""
        touched = rng.sample(NUMBERS, rng.choice([1, 1, 2]))
        return await self._update(
            rng, job, row, {column: rng.choice(_VALUES) for column in touched}
        )

    async def _update(
        self, rng: Random, job: Job, row: dict[str, Any], values: dict[str, int | None]
    ) -> SourceEvent:
        assignments = ", ".join(f"{quoted(column)} = %({column})s" for column in values)
        await self._change(job, row, assignments, **values)
        is_moving = "z" in values and job.outputs[0].name in self.world.views
        columns = None if is_moving else [*values]
        return self._event(rng, job, [key_of(job.space, row)], columns, [row["k"]])

    async def _delete(self, rng: Random, job: Job, row: dict[str, Any]) -> SourceEvent:
        await self._run(f"DELETE FROM {self._table(job)} WHERE id = %(id)s", id=row["id"])
        return self._event(rng, job, [key_of(job.space, row)], None, [row["k"]])

    async def _move(self, rng: Random, job: Job, row: dict[str, Any]) -> SourceEvent:
        """Move a row to another partition."""
        to = rng.choice(sorted(universe(job.space)))
        values = {d.name: _value(rng, d, part) for d, part in zip(job.space, to, strict=True)}
        if values:
            assignments = ", ".join(f"{quoted(column)} = %({column})s" for column in values)
            await self._change(job, row, assignments, **values)
        return self._event(rng, job, [key_of(job.space, row), to], None, [row["k"]])

    async def _regroup(self, rng: Random, job: Job, row: dict[str, Any]) -> SourceEvent:
        to = rng.choice(job.alphabet)
        await self._change(job, row, "k = %(k)s", k=to)
        return self._event(rng, job, [key_of(job.space, row)], [GROUPED.name], [row["k"], to])

    def _event(
        self,
        rng: Random,
        job: Job,
        keys: Sequence[Key],
        columns: Collection[str] | None,
        groups: Collection[str] | None,
    ) -> SourceEvent:
        """Return the event for an edit, naming partitions or all, and possibly groups."""
        name = job.outputs[0].name
        self.named_by_events.setdefault(name, set()).update(keys)
        is_new = not {*keys} <= self._existing[name]
        is_vague = rng.random() < 0.15 and not is_new
        named = (
            None
            if is_vague or not job.space
            else tuple(dict.fromkeys(text(job.space, k) for k in keys))
        )
        rows: dict[str, Any] | None = None
        if groups is not None and not is_new and rng.random() < 0.5:
            listed = sorted({*groups})
            rows = {GROUPED.name: listed[0] if len(listed) == 1 else {"in": listed}}
        return SourceEvent(
            dataset=name,
            partitions=named,
            columns=None if columns is None else tuple(sorted(columns)),
            rows=rows,
        )

    # -- statements ----------------------------------------------------------------------------

    async def _rows(self, job: Job) -> list[dict[str, Any]]:
        return await self._run(f"SELECT * FROM {self._table(job)} ORDER BY id")

    async def _change(self, job: Job, row: dict[str, Any], to: str, **values: Any) -> None:
        where = f"UPDATE {self._table(job)} SET {to} WHERE id = %(id)s"
        await self._run(where, id=row["id"], **values)

    def _table(self, job: Job) -> str:
        return f"{quoted(self.schema)}.{quoted(table_of(self.world, job.outputs[0].name))}"

    async def _run(self, statement: str, **params: Any) -> list[dict[str, Any]]:
        async with self.database.connection() as conn:
            cursor = await conn.execute(statement.encode(), params or None)
            return await cursor.fetchall() if cursor.description else []


def _value(rng: Random, d: Dimension, part: str) -> Any:
    """Return a value of the partition column: any day of the partition, or the key."""
    if d.kind != "time":
        return part
    first = first_day(d, part)
    return first + timedelta(days=rng.randrange((next_day(d, part) - first).days))
