"""A world of tables in a database: its schema, its org with grants for SQL jobs, and its log."""

from __future__ import annotations

from collections import Counter, defaultdict
from dataclasses import dataclass, field
from typing import Any
from uuid import UUID, uuid4

from engine.flow.shared.org_context import OrgContext
from engine.store.database import Database
from engine.store.grants import Grant, grant_to_org
from engine.store.orgs import ensure_org, set_setting
from tests.simulation.dimensions import Key, read_text
from tests.simulation.tables.content import quoted
from tests.simulation.tables.dag import DAG, dag_jobs, statements
from tests.simulation.tables.generate import TableWorld
from tests.support.worlds import World as Engine

_EXISTING = """
SELECT c.name, p.partition_key FROM current_datasets c JOIN partition_versions p
ON p.dataset_uuid = c.dataset_uuid AND p.dataset_version = c.dataset_version
JOIN orgs o ON o.id = c.org_id WHERE o.slug = %s
"""
_PLANNED = """
SELECT c.name, unnest(t.partitions) AS partition_key
FROM tasks t JOIN jobs j ON j.id = t.job_id
JOIN current_datasets c ON c.org_id = t.org_id AND c.name = ANY(j.output_datasets)
JOIN orgs o ON o.id = c.org_id
WHERE o.slug = %s AND t.status IN ('blocked', 'queued', 'running', 'failed')
"""
_VERSIONS = """
SELECT c.name, c.dataset_version FROM current_datasets c JOIN orgs o ON o.id = c.org_id
WHERE o.slug = %s
"""


@dataclass
class TableState:
    """State shared by all parts of a simulation of tables."""

    engine: Engine
    world: TableWorld
    schema: str
    log: list[str] = field(default_factory=list)
    counts: Counter[str] = field(default_factory=Counter)
    now: int = 0
    is_granted_by_hand: bool = False
    wording: int = 0
    """Seed of the texts of the SELECTs in the DAG file; 0: as written by the grammar."""
    retained: defaultdict[str, set[Key]] = field(default_factory=lambda: defaultdict(set))
    """Partitions that existed, or were planned, at a deploy."""

    @staticmethod
    async def start(
        database: Database, world: TableWorld, *, is_granted_by_hand: bool
    ) -> TableState:
        """Create the schema and the org of a world, and deploy its DAG.

        The org's jobs are granted the sources individually, or any table named in their DAG file.
        """
        schema = f"sim_{uuid4().hex}"
        async with database.connection() as conn:
            for statement in statements(world, schema):
                await conn.execute(statement.encode())
            org = await ensure_org(conn, schema)
            if not is_granted_by_hand:
                await set_setting(conn, org, "grants", "dag_files")
        state = TableState(
            Engine(database, OrgContext(org)), world, schema, is_granted_by_hand=is_granted_by_hand
        )
        await state.grant()
        await state.deploy(world)
        return state

    async def grant(self) -> None:
        """Grant the privileges an operator would grant."""
        if not self.is_granted_by_hand:
            return
        async with self.engine.conn() as conn:
            await grant_to_org(conn, self.schema, Grant("create", self.schema))
            for job in self.world.world.sources:
                right = Grant("read", self.schema, job.outputs[0].name)
                await grant_to_org(conn, self.schema, right)

    async def deploy(self, world: TableWorld) -> None:
        for rows in (_EXISTING, _PLANNED):
            for name, keys in (await self._keys(rows)).items():
                self.retained[name] |= keys
        await self.engine.deploy(*dag_jobs(world, self.schema, self.wording), dag=DAG)
        self.world = world

    async def end(self) -> None:
        await self.run(f"DROP SCHEMA {quoted(self.schema)} CASCADE")

    def log_line(self, line: str, count: str | None = None) -> None:
        """Log a line and increment its counter."""
        self.log.append(f"{self.now:4} {line}")
        if count is not None:
            self.counts[count] += 1

    async def run(self, statement: str) -> None:
        """Run a statement without a result."""
        async with self.engine.conn() as conn:
            await conn.execute(statement.encode())

    async def table(self, dataset: str) -> list[dict[str, Any]]:
        """Return the rows of a dataset; empty if its table does not exist."""
        name = f"{quoted(self.schema)}.{quoted(dataset)}"
        (relation,) = await self.engine.rows("SELECT to_regclass(%s) AS oid", name)
        return [] if relation["oid"] is None else await self.engine.rows(f"SELECT * FROM {name}")

    async def existing(self) -> dict[str, set[Key]]:
        """Return the existing partitions by dataset."""
        return await self._keys(_EXISTING)

    async def _keys(self, query: str) -> dict[str, set[Key]]:
        keys: dict[str, set[Key]] = defaultdict(set)
        for row in await self.engine.rows(query, self.schema):
            producer = self.world.world.producers[row["name"]]
            keys[row["name"]] |= read_text(producer.space, row["partition_key"])
        return keys

    async def versions(self) -> dict[str, UUID]:
        """Return the content versions by dataset."""
        rows = await self.engine.rows(_VERSIONS, self.schema)
        return {row["name"]: row["dataset_version"] for row in rows}
