"""Approve or reject: a person's word on a plan that is held."""

from dataclasses import dataclass
from uuid import UUID

from engine.flow.decide import changes_since, decided, lock_plan
from engine.flow.draft import Draft, draft_rows
from engine.flow.forget import forget_unplanned
from engine.flow.plan import carry_out
from engine.flow.scene import Scene
from engine.flow.set_aside import planning
from engine.planner import Difference
from engine.store.database import Connection
from engine.store.run import execute, fetch


@dataclass(frozen=True, slots=True)
class Decision:
    """What became of the order; ``changes`` say how what runs differs from what was held.

    ``is_new`` is false where the same had been decided before.
    """

    plan_id: UUID
    state: str
    invalidations: tuple[UUID, ...]
    tasks: int = 0
    is_new: bool = True
    changes: tuple[Difference, ...] = ()


async def approve(conn: Connection, scene: Scene, plan_id: UUID, by: str | None = None) -> Decision:
    """Let a held plan run: its very invalidations are planned again, as things are now.

    Raises UnknownName, or InvalidInput where it is not held, or cannot be planned.
    """
    async with conn.transaction():
        row = await lock_plan(conn, scene, plan_id, "held", "applied")
        ids = tuple(row["invalidation_ids"])
        if row["state"] == "applied":
            return Decision(plan_id, "applied", ids, row["task_count"], is_new=False)
        rows = await fetch(conn, "invalidations.lock_these", ids=list(ids))
        with planning(f"plan {plan_id}"):
            draft = await draft_rows(conn, scene, rows)
            changes = await changes_since(conn, row["document"], draft)
            planned = await carry_out(conn, scene, draft, plan_id)
        await decided(conn, plan_id, "applied", by)
    return Decision(plan_id, "applied", ids, planned.tasks, changes=changes)


async def reject(conn: Connection, scene: Scene, plan_id: UUID, by: str | None = None) -> Decision:
    """Have nothing run for a held plan; what it would have made stays stale, and is said to be.

    Raises UnknownName, or InvalidInput where it is not held.
    """
    async with conn.transaction():
        row = await lock_plan(conn, scene, plan_id, "held", "rejected")
        ids = tuple(row["invalidation_ids"])
        if row["state"] == "rejected":
            return Decision(plan_id, "rejected", ids, is_new=False)
        rows = await fetch(conn, "invalidations.lock_these", ids=list(ids))
        with planning(f"plan {plan_id}"):
            await _forget_all(conn, await draft_rows(conn, scene, rows))
        await execute(conn, "invalidations.reject", ids=list(ids))
        await decided(conn, plan_id, "rejected", by)
    return Decision(plan_id, "rejected", ids)


async def _forget_all(conn: Connection, draft: Draft) -> None:
    """What it hits directly; what reads that is told when it comes out otherwise."""
    direct = (
        (step.job, draft.lineage.job_space(draft.lineage.job(step.job)).keys(step.direct))
        for step in draft.decided.steps
    )
    await forget_unplanned(conn, draft.lineage, direct)
