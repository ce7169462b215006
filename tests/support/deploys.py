"""Deploys of DAG files in tests, and transactions that wait for one another."""

import json
from typing import Any
from uuid import UUID

from engine.flow.deployment.deploy import approve, deploy
from engine.flow.deployment.deployment import Deployed
from engine.flow.planning.approve import Review
from engine.flow.planning.audit import audit_all
from engine.model.dag import DagFile
from engine.model.dagfile import parse_dag
from engine.store.orgs import set_setting
from tests.support.worlds import World, job, source

OTHER = {"config": {"callable": "else:where"}}
"""Another definition of a job."""


def dag(name: str, *jobs: dict[str, Any]) -> DagFile:
    """A DAG file with these jobs."""
    return parse_dag(json.dumps({"dag": name, "jobs": list(jobs)}), where=f"{name}.yaml")


def days(start: str, end: str) -> dict[str, Any]:
    """A partitioning by day."""
    return {"dt": {"time": "day", "start": start, "end": end}}


def columned(*columns: str) -> dict[str, Any]:
    """The source a, with these columns."""
    made = source("a")
    made["outputs"][0]["columns"] = ["dt", *columns]
    return made


def sql(name: str, select: str, *inputs: str, **storage: Any) -> dict[str, Any]:
    """A job of the SQL operator."""
    made = job(name, *inputs) | {"operator": "sql", "config": {"sql": select}}
    made["outputs"][0]["storage"] = storage
    return made


async def together(world: World, *dags: DagFile, is_limited: bool = False) -> Deployed:
    """Deploy files in one deploy."""
    async with world.conn() as conn:
        return await deploy(conn, world.org, dags, "ann", is_limited=is_limited)


async def limit(world: World, partitions: int) -> None:
    """Limit the partitions of a plan."""
    async with world.conn() as conn:
        await set_setting(conn, world.org.id, "blast_radius", partitions)


async def pending(world: World, *dags: DagFile) -> UUID:
    """Deploy files beyond a limit; returns the plan pending approval."""
    await limit(world, 5)
    plan = (await together(world, *dags, is_limited=True)).pending_plan
    assert plan is not None
    return plan


async def approved(world: World, plan: UUID) -> Review:
    """Approve a plan."""
    async with world.conn() as conn:
        return await approve(conn, world.org, plan, "bob")


async def lost(world: World) -> int:
    """The number of partitions that the audit finds lost."""
    async with world.conn() as conn:
        return (await audit_all(conn, world.org)).lost


async def is_waiting(world: World, pid: int | None = None) -> bool:
    """Return True if a transaction, of a session or any, waits for a lock of another one."""
    waiting = (
        "SELECT count(*) AS n FROM pg_stat_activity"
        " WHERE wait_event_type = 'Lock' AND pid = coalesce(%s, pid)"
    )
    return bool((await world.rows(waiting, pid))[0]["n"])
