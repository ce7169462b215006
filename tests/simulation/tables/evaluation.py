"""The first law on tables: each equals its SELECT evaluated from scratch over current sources.

PostgreSQL evaluates the SELECT, but the input partitions are composed key by key from the mapping
of the simulator.
"""

from __future__ import annotations

from collections import Counter
from collections.abc import Mapping, Sequence
from dataclasses import dataclass

from engine.store.database import Connection
from tests.simulation.dimensions import Key, text, universe
from tests.simulation.invariants import Broken
from tests.simulation.mapping import Read, needed
from tests.simulation.tables.content import Row, condition, literal, quoted, value
from tests.simulation.tables.dag import in_schema
from tests.simulation.tables.generate import TableWorld
from tests.simulation.world import Job

Existing = Mapping[str, set[Key]]


@dataclass(frozen=True)
class Evaluation:
    """Evaluation of a world's SELECTs into temporary tables, in topological order."""

    conn: Connection
    world: TableWorld
    schema: str
    existing: Existing

    async def check(self) -> None:
        """Raise Broken for a differing table. Must run in its own transaction."""
        await self.conn.execute(b"SET LOCAL TimeZone = 'UTC'")
        for job in self.world.world.derived_jobs:
            for output in job.outputs:
                await self._evaluate(job, output.name)
                await self._compare(job, output.name)

    async def _evaluate(self, job: Job, dataset: str) -> None:
        keys = sorted(self.existing[dataset])
        to = _temporary(dataset)
        some = keys[0] if keys else next(universe(job.space))
        content = self._query(job, dataset, some)
        await self._run(f"CREATE TEMP TABLE {to} ON COMMIT DROP AS {content} WITH NO DATA")
        for key in keys:
            await self._run(f"INSERT INTO {to} {self._query(job, dataset, key)}")

    async def _compare(self, job: Job, dataset: str) -> None:
        columns = self._columns(job, dataset)
        expected = await self._rows(_temporary(dataset), columns)
        stored = await self._rows(f"{quoted(self.schema)}.{quoted(dataset)}", columns)
        if stored != expected:
            surplus, missing = list(stored - expected)[:3], list(expected - stored)[:3]
            details = f"{dataset}: surplus {surplus}, missing {missing}, columns {columns}"
            raise Broken("sound: a table differs from its SELECT evaluated from scratch", details)

    async def _rows(self, table: str, columns: Sequence[str]) -> Counter[Row]:
        (relation,) = await self._run("SELECT to_regclass(%(table)s) AS oid", table=table)
        if relation["oid"] is None:
            return Counter()
        names = ", ".join(map(quoted, columns))
        return Counter(
            tuple(row.values()) for row in await self._run(f"SELECT {names} FROM {table}")
        )

    def _query(self, job: Job, dataset: str, key: Key) -> str:
        """Return the query for the content of a partition."""
        inputs = [
            f"{quoted(read.dataset)} AS (SELECT * FROM {self._relation(read.dataset)}"
            f" WHERE {self._condition(job, read, key)})"
            for read in job.reads
        ]
        parts = [f"{literal(text(job.space, key))} AS key"]
        parts += [f"{literal(p)} AS {quoted(d.name)}" for d, p in zip(job.space, key, strict=True)]
        common = ", ".join([*inputs, f"knockon_partition AS (SELECT {', '.join(parts)})"])
        select = self.world.select(dataset)
        named = [column for column, _ in select.shape.kinds]
        added = [
            f"{value(d, part)} AS {quoted(d.name)}"
            for d, part in zip(job.space, key, strict=True)
            if d.name not in named
        ]
        columns = ", ".join([*(f"q.{quoted(column)}" for column in named), *added])
        return f"WITH {common} SELECT {columns} FROM ({in_schema(select.text, self.schema)}) AS q"

    def _relation(self, dataset: str) -> str:
        if self.world.world.producers[dataset].is_source:
            return f"{quoted(self.schema)}.{quoted(dataset)}"
        return _temporary(dataset)

    def _condition(self, job: Job, read: Read, key: Key) -> str:
        source = self.world.world.producers[read.dataset].space
        among = universe(source) if read.latest is None else self.existing[read.dataset]
        return condition(source, needed(read, source, job.space, key, set(among)))

    def _columns(self, job: Job, dataset: str) -> list[str]:
        named = [column for column, _ in self.world.select(dataset).shape.kinds]
        return list(dict.fromkeys([*named, *(d.name for d in job.space)]))

    async def _run(self, statement: str, **params: object) -> list[dict[str, object]]:
        cursor = await self.conn.execute(statement.encode(), params or None)
        return await cursor.fetchall() if cursor.description else []


def _temporary(dataset: str) -> str:
    return quoted(f"scratch_{dataset}")
