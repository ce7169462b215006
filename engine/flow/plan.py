"""Plan: unprocessed invalidations become tasks, and are marked with the jobs that have theirs.

One transaction; a crash before its commit leaves the invalidations as they were. What goes beyond
a limit becomes a held plan instead.
"""

from asyncio import get_running_loop
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from operator import attrgetter
from typing import Any
from uuid import UUID

from psycopg.types.json import Jsonb

from engine.collector import paused_collector
from engine.flow.draft import Draft, draft_rows
from engine.flow.emit import emit
from engine.flow.hold import excesses_of, hold, spoken_of
from engine.flow.scene import Scene
from engine.lineage.graph import Lineage
from engine.planner import Excess, Plan
from engine.store.bells import TASKS, ring
from engine.store.database import Connection
from engine.store.ids import new_id
from engine.store.orgs import lock_planning
from engine.store.run import Row, execute, fetch


@dataclass(frozen=True, slots=True)
class Planned:
    """One planning: its id, the invalidations that it took, and how many tasks they touch.

    ``held_by`` are the limits that it went beyond: then there are no tasks.
    """

    plan_id: UUID
    invalidations: int
    tasks: int
    held_by: tuple[Excess, ...] = ()


async def plan(conn: Connection, scene: Scene, limit: int = 1_000) -> Planned | None:
    """Plan up to ``limit`` of the oldest open invalidations; None when there are none.

    Where together they go beyond a limit, only those of the first one's dataset are taken, so that
    nothing is held for the company that it came in.
    """
    with paused_collector():
        async with conn.transaction():
            await lock_planning(conn, scene.org_id)
            rows = await fetch(conn, "invalidations.lock_open", org_id=scene.org_id, limit=limit)
            return await _plan_within_limits(conn, scene, rows) if rows else None


async def plan_rows(conn: Connection, scene: Scene, rows: Sequence[Row]) -> Planned:
    """Plan locked invalidations, in the caller's transaction and under the planning lock.

    No limit holds them: whoever calls has been told to.
    """
    return await carry_out(conn, scene, await draft_rows(conn, scene, rows), new_id())


async def carry_out(conn: Connection, scene: Scene, draft: Draft, plan_id: UUID) -> Planned:
    """Do what was decided, and keep it as the plan of this id, which may be there already."""
    await _stamp(conn, draft.lineage, draft.decided)
    # While the server takes in the tasks, the account of them is written.
    account = get_running_loop().run_in_executor(None, lambda: draft.document)
    tasks = await emit(conn, scene, draft.lineage, draft.decided, plan_id)
    await _record(conn, scene, draft, plan_id, tasks, await account)
    await ring(conn, TASKS, scene.org_id)
    return Planned(plan_id, len(draft.invalidations), tasks)


async def _plan_within_limits(conn: Connection, scene: Scene, rows: Sequence[Row]) -> Planned:
    draft = await draft_rows(conn, scene, rows)
    beyond = await excesses_of(conn, scene, draft)
    alone = [row for row in rows if row["dataset_uuid"] == rows[0]["dataset_uuid"]]
    if beyond and len(alone) < len(rows):
        return await _plan_within_limits(conn, scene, alone)
    if beyond:
        return await _held(conn, scene, draft, beyond)
    return await carry_out(conn, scene, draft, new_id())


async def _held(conn: Connection, scene: Scene, draft: Draft, beyond: Sequence[Excess]) -> Planned:
    plan_id = await hold(conn, scene, draft, beyond)
    await _stamp(conn, draft.lineage, await spoken_of(conn, draft))
    return Planned(plan_id, len(draft.invalidations), 0, tuple(beyond))


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
                is_source=lineage.producer(dataset).activation == "source",
            )


async def _record(
    conn: Connection,
    scene: Scene,
    draft: Draft,
    plan_id: UUID,
    tasks: int,
    account: Mapping[str, Any],
) -> None:
    await execute(
        conn,
        "plans.insert",
        id=plan_id,
        org_id=scene.org_id,
        epoch=scene.epoch,
        invalidation_ids=[each.id for each in draft.invalidations],
        document=Jsonb(account),
        task_count=tasks,
    )
    marks = [_mark(draft.decided, each.id) for each in draft.invalidations]
    await execute(conn, "invalidations.processed", plan_id=plan_id, rows=Jsonb(marks))


def _mark(decided: Plan, invalidation: UUID) -> dict[str, Any]:
    jobs = sorted(decided.invalidations.get(invalidation, ()), key=attrgetter("int"))
    return {"id": invalidation, "jobs": jobs, "outcome": "planned" if jobs else "hits nothing"}
