"""Hold: a plan beyond a limit waits for approval, and its invalidations with it, still open.

No task is made, and no planner takes those invalidations meanwhile; all others go their way.
"""

from collections.abc import Sequence
from dataclasses import asdict, replace
from uuid import UUID

from psycopg.types.json import Jsonb

from engine.flow.draft import Draft
from engine.flow.estimate import Estimate, costs
from engine.flow.known import load_existing
from engine.flow.scene import Scene
from engine.planner import Excess, Plan, excesses
from engine.store.database import Connection
from engine.store.ids import new_id
from engine.store.orgs import settings
from engine.store.run import execute


async def excesses_of(conn: Connection, scene: Scene, draft: Draft) -> list[Excess]:
    """The limits that a draft goes beyond: its org's, and those of its jobs."""
    limit = (await settings(conn, scene.org_id)).blast_radius
    return list(excesses(draft.decided, draft.lineage, limit))


async def hold(conn: Connection, scene: Scene, draft: Draft, beyond: Sequence[Excess]) -> UUID:
    """Keep a plan until somebody approves or rejects it; returns its id."""
    plan_id = new_id()
    ids = [each.id for each in draft.invalidations]
    await execute(
        conn,
        "plans.hold",
        id=plan_id,
        org_id=scene.org_id,
        epoch=scene.epoch,
        invalidation_ids=ids,
        document=Jsonb(draft.document),
        task_count=draft.tasks,
        estimate=Jsonb(asdict(Estimate.of((await costs(conn, draft)).values()))),
        held_by="\n".join(map(str, beyond)),
    )
    await execute(conn, "invalidations.hold", plan_id=plan_id, ids=ids)
    return plan_id


async def spoken_of(conn: Connection, draft: Draft) -> Plan:
    """The decision, with changes of those partitions only that somebody spoke of before.

    A change has happened, whether or not anything may run for it, so what read the partition is
    stale. One that is new stays unspoken of: no other change is to reach it unapproved, and to
    whoever plans it in the end all its columns are new.
    """
    changed = {}
    for dataset, each in draft.decided.changed.items():
        existing = await load_existing(conn, draft.lineage, dataset)
        changed[dataset] = tuple(it._replace(partitions=it.partitions & existing) for it in each)
    return replace(draft.decided, changed=changed)
