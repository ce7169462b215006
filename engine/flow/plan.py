"""Plan: unprocessed invalidations become tasks, and are marked with the jobs that have theirs.

One transaction; a crash before its commit leaves the invalidations as they were.
"""

from collections.abc import Sequence
from dataclasses import dataclass, replace
from operator import attrgetter
from typing import Any
from uuid import UUID

from psycopg.types.json import Jsonb

from engine.flow.emit import emit
from engine.flow.known import load_existing, load_known
from engine.flow.scene import Scene
from engine.lineage.graph import Lineage
from engine.model.invalidation import Invalidation
from engine.partitions import PartitionSet
from engine.planner import KnownNeeded, Plan, document, prefetched
from engine.planner import plan as make_plan
from engine.store.bells import TASKS, ring
from engine.store.database import Connection
from engine.store.ids import new_id
from engine.store.orgs import lock_planning
from engine.store.run import Row, execute, fetch


@dataclass(frozen=True, slots=True)
class Planned:
    """One planning: its id, the invalidations that it took, and how many tasks they touch."""

    plan_id: UUID
    invalidations: int
    tasks: int


async def plan(conn: Connection, scene: Scene, limit: int = 1_000) -> Planned | None:
    """Plan up to ``limit`` of the oldest open invalidations; None when there are none."""
    async with conn.transaction():
        await lock_planning(conn, scene.org_id)
        rows = await fetch(conn, "invalidations.lock_open", org_id=scene.org_id, limit=limit)
        return await plan_rows(conn, scene, rows) if rows else None


async def plan_rows(conn: Connection, scene: Scene, rows: Sequence[Row]) -> Planned:
    """Plan locked invalidations, in the caller's transaction and under the planning lock."""
    lineage = await scene.lineage(conn)
    invalidations = await _served(conn, lineage, rows)
    known: dict[UUID, PartitionSet] = {}
    decided = await decide(conn, lineage, invalidations, known)
    await _stamp(conn, lineage, decided)
    plan_id = new_id()
    tasks = await emit(conn, scene, lineage, decided, plan_id)
    await _record(conn, scene, decided, plan_id, invalidations, tasks)
    await ring(conn, TASKS, scene.org_id)
    return Planned(plan_id, len(rows), tasks)


async def decide(
    conn: Connection,
    lineage: Lineage,
    invalidations: Sequence[Invalidation],
    known: dict[UUID, PartitionSet],
) -> Plan:
    """Run the pure planner, loading the partitions that it asks for until it has all it needs."""
    while True:
        try:
            return make_plan(lineage, invalidations, prefetched(known))
        except KnownNeeded as needed:
            for dataset in needed.datasets:
                known[dataset] = await load_known(conn, lineage, dataset)


async def _served(conn: Connection, lineage: Lineage, rows: Sequence[Row]) -> list[Invalidation]:
    """Those about the generation that is served; the others are kept, and not routed."""
    routed, aside = [], []
    for row in rows:
        dataset = lineage.find_dataset(row["dataset_uuid"])
        if dataset is not None and dataset.version == row["dataset_version"]:
            routed.append(await _widened(conn, lineage, _invalidation(row)))
        else:
            aside.append(row["id"])
    if aside:
        await execute(conn, "invalidations.set_aside", ids=aside)
    return routed


async def _widened(conn: Connection, lineage: Lineage, invalidation: Invalidation) -> Invalidation:
    """Of partitions that nobody has spoken of before, all columns are new, whichever are named."""
    if invalidation.columns is None or invalidation.partition_key is None:
        return invalidation
    space = lineage.space(invalidation.dataset)
    existing = await load_existing(conn, lineage, invalidation.dataset)
    if existing.covers(space.parse(invalidation.partition_key) & space.universe):
        return invalidation
    return replace(invalidation, columns=None)


def _invalidation(row: Row) -> Invalidation:
    return Invalidation(
        id=row["id"],
        dataset=row["dataset_uuid"],
        version=row["dataset_version"],
        reason=row["reason"],
        partition_key=row["partition_key"],
        columns=None if row["columns"] is None else frozenset(row["columns"]),
        row_filter=row["row_filter"],
        processed_by=frozenset(row["processed_by"]),
    )


async def _stamp(conn: Connection, lineage: Lineage, decided: Plan) -> None:
    """What changed by other hands than a task's bears a new stamp from here on."""
    for dataset, changed in decided.changed.items():
        for partitions, columns in changed:
            await execute(
                conn,
                "partitions.stamp",
                dataset=dataset,
                version=lineage.dataset(dataset).version,
                keys=list(lineage.space(dataset).keys(partitions)),
                columns=None if columns is None else list(columns),
            )


async def _record(
    conn: Connection,
    scene: Scene,
    decided: Plan,
    plan_id: UUID,
    invalidations: Sequence[Invalidation],
    tasks: int,
) -> None:
    lineage = await scene.lineage(conn)
    await execute(
        conn,
        "plans.insert",
        id=plan_id,
        org_id=scene.org_id,
        epoch=scene.epoch,
        invalidation_ids=[each.id for each in invalidations],
        document=Jsonb(document(decided, lineage)),
        task_count=tasks,
    )
    marks = [_mark(decided, each.id) for each in invalidations]
    await execute(conn, "invalidations.processed", plan_id=plan_id, rows=Jsonb(marks))


def _mark(decided: Plan, invalidation: UUID) -> dict[str, Any]:
    jobs = sorted(decided.invalidations.get(invalidation, ()), key=attrgetter("int"))
    return {"id": invalidation, "jobs": jobs, "outcome": "planned" if jobs else "hits nothing"}
