"""A small world for tests of flows: a deployed DAG whose tasks the test claims and completes.

Each method is an explicit step of the test on a named connection; there are no background loops.
"""

import json
from collections.abc import AsyncIterator, Iterable
from contextlib import asynccontextmanager
from dataclasses import dataclass, field
from functools import cached_property
from typing import Any, ClassVar
from uuid import UUID

from psycopg.rows import DictRow

from consumers.manual import Requested, invalidate
from engine.flow.deployment.deploy import deploy
from engine.flow.deployment.deployment import Deployed
from engine.flow.execution.claim import Claimant, claim
from engine.flow.execution.complete import complete
from engine.flow.planning.plan import Planned, plan
from engine.flow.shared.org_context import OrgContext
from engine.model.dagfile import parse_dag
from engine.model.event import SourceEvent
from engine.model.task import Completion, Lease, Output
from engine.service.caller import Caller, Org
from engine.service.service import Service
from engine.store.database import Connection, Database
from engine.store.orgs import org_id

DAILY = {"dt": {"time": "day", "start": "2013-01-01", "end": "2014-01-01"}}
WEEKLY = {"dt": {"time": "week", "start": "2013-W01", "end": "2014-W01"}}


def source(name: str, partitioning: dict[str, Any] | None = None, **more: Any) -> dict[str, Any]:
    """A source job with a dataset of the same name."""
    return {
        "name": f"src_{name}",
        "activation": "source",
        "source": {"kind": "manual"},
        "outputs": [
            {"dataset": name, "partitioning": DAILY if partitioning is None else partitioning}
        ],
    } | more


def job(
    name: str, *inputs: Any, partitioning: dict[str, Any] | None = None, **more: Any
) -> dict[str, Any]:
    """A reactive job that makes a dataset of the same name out of ``inputs``."""
    output = {"dataset": name, "partitioning": DAILY if partitioning is None else partitioning}
    columns = more.pop("columns", None)
    if columns is not None:
        output["columns"] = columns
    return {
        "name": name,
        "operator": "python",
        "config": {"callable": "nowhere:nothing"} | more.pop("config", {}),
        "inputs": list(inputs),
        "outputs": [output],
    } | more


def finding_job(name: str, *inputs: str) -> dict[str, Any]:
    """A `Full` job that finds its partitions, reading all of each input."""
    reads = ({"dataset": dataset, "mapping": "all"} for dataset in inputs)
    dynamic = {"k": {"dynamic": True}}
    return job(name, *reads, partitioning=dynamic, execution_strategy="Full")


@dataclass
class World:
    """An org on a database, and the completed runs in order."""

    service_database: ClassVar[Database | None] = None
    """The database of the service, if not the same."""
    database: Database
    org: OrgContext
    log: list[str] = field(default_factory=list)

    @property
    def caller(self) -> Caller:
        """The local user, in this org."""
        return Caller.local(Org(self.org.id, "default"))

    @cached_property
    def service(self) -> Service:
        return Service(self.service_database or self.database)

    @staticmethod
    async def made(database: Database, *jobs: dict[str, Any], dag: str = "w") -> "World":
        """A world with one deployed DAG."""
        async with database.connection() as conn:
            world = World(database, OrgContext(await org_id(conn, "default")))
        await world.deploy(*jobs, dag=dag)
        return world

    async def deploy(self, *jobs: dict[str, Any], dag: str = "w") -> Deployed:
        text = json.dumps({"dag": dag, "jobs": list(jobs)})  # JSON is YAML
        async with self.conn() as conn:
            return await deploy(conn, self.org, [parse_dag(text, where=f"{dag}.yaml")])

    @asynccontextmanager
    async def conn(self) -> AsyncIterator[Connection]:
        async with self.database.connection() as conn:
            yield conn

    async def change(self, dataset: str, *partitions: str, **more: Any) -> Requested:
        """Invalidate partitions of a dataset, by default all."""
        event = SourceEvent(dataset=dataset, partitions=partitions or None, **more)
        async with self.conn() as conn:
            return await invalidate(conn, self.org, event)

    async def plan(self) -> Planned | None:
        """Plan all open invalidations."""
        async with self.conn() as conn:
            return await plan(conn, self.org)

    async def changed(self, dataset: str, *partitions: str, **more: Any) -> None:
        """Invalidate and plan."""
        await self.change(dataset, *partitions, **more)
        await self.plan()

    async def claim(self, limit: int = 1_000, worker: str = "w1", seconds: int = 30) -> list[Lease]:
        """Claim all queued tasks."""
        async with self.conn() as conn:
            return await claim(conn, self.org, Claimant(worker, lease_seconds=seconds), limit)

    async def finish(self, lease: Lease, fingerprint: str | None = None, **more: Any) -> None:
        """Complete a run successfully; without a fingerprint its outputs count as changed."""
        outputs = tuple(
            Output(dataset.name, key, fingerprint)
            for dataset in lease.outputs
            for key in lease.partitions
        )
        await self.complete(lease, *outputs, **more)

    async def complete(self, lease: Lease, *outputs: Output, **more: Any) -> None:
        """Complete a run successfully, with these outputs."""
        async with self.conn() as conn:
            await complete(conn, self.org, Completion(lease, outputs, **more))
        self.log.append(name_of(lease))

    async def run(self, same: Iterable[str] = (), **fingerprints: str) -> list[str]:
        """Run all runnable tasks to completion; jobs in ``same`` produce unchanged results.

        For other jobs, ``fingerprints`` gives results by job name; a job without an entry counts as
        changed.
        """
        before = len(self.log)
        made = dict.fromkeys(same, "same") | fingerprints
        while leases := await self.claim():
            for lease in leases:
                await self.finish(lease, made.get(lease.job.name))
        return self.log[before:]

    async def rows(self, text: str, *params: Any) -> list[DictRow]:
        async with self.conn() as conn:
            cursor = await conn.execute(text.encode(), params)
            return await cursor.fetchall()

    async def tasks(self, job_name: str | None = None) -> dict[str, list[str]]:
        """Tasks of a job (or of all jobs) as ``job[block_key]``, grouped by status."""
        rows = await self.rows(
            "SELECT t.status, j.name || '[' || t.block_key || ']' AS name FROM tasks t "
            "JOIN jobs j ON j.id = t.job_id WHERE %s::text IS NULL OR j.name = %s ORDER BY t.id",
            job_name,
            job_name,
        )
        found: dict[str, list[str]] = {}
        for row in rows:
            found.setdefault(row["status"], []).append(row["name"])
        return found

    async def task(self, name: str, *statuses: str) -> DictRow:
        """The only task called ``job[block_key]`` in one of these states."""
        rows = await self.rows(
            "SELECT t.* FROM tasks t JOIN jobs j ON j.id = t.job_id "
            "WHERE j.name || '[' || t.block_key || ']' = %s AND t.status = ANY(%s)",
            name,
            list(statuses),
        )
        assert len(rows) == 1, (name, statuses, rows)
        return rows[0]

    async def dataset_id(self, name: str) -> UUID:
        return (await self.rows("SELECT id FROM datasets WHERE name = %s", name))[0]["id"]


def name_of(lease: Lease) -> str:
    """``job[block_key]``."""
    return f"{lease.job.name}[{lease.block_key}]"
