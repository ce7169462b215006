"""Plans, as they are listed."""

from collections.abc import Sequence
from dataclasses import dataclass
from datetime import datetime
from typing import Any
from uuid import UUID

import msgspec

from engine.api.tasks import id_ending
from engine.flow.estimate import Estimate
from engine.flow.scene import Scene
from engine.store.database import Connection
from engine.store.run import Row, fetch


@dataclass(frozen=True, slots=True)
class PlanRow:
    """One plan; ``state``: proposed, held, applied or rejected.

    ``datasets`` are those whose change it is about. ``held_by`` are the limits that it went beyond,
    in words. ``estimate`` null: it was carried out at once, and nobody asked what it may take.
    """

    id: UUID
    state: str
    created_at: datetime
    datasets: tuple[str, ...]
    jobs: int
    tasks: int
    estimate: Estimate | None
    held_by: tuple[str, ...]
    decided_at: datetime | None
    decided_by: str | None


async def plans(
    conn: Connection, scene: Scene, *, states: Sequence[str] | None = None, limit: int = 50
) -> list[PlanRow]:
    """The newest first, in these states."""
    rows = await fetch(
        conn,
        "plans.list",
        org_id=scene.org_id,
        states=None if states is None else list(states),
        limit=limit,
    )
    return [_plan(row) for row in rows]


async def plan_id(conn: Connection, scene: Scene, text: str) -> UUID:
    """The plan that a whole id, or the end of one, names. Raises InvalidInput, UnknownName."""
    return await id_ending(conn, scene, text, "plan", "views.plan_ids")


def _plan(row: Row) -> PlanRow:
    event: dict[str, Any] = row["event"] or {}
    return PlanRow(
        id=row["id"],
        state=row["state"],
        created_at=row["created_at"],
        datasets=tuple(row["datasets"]) or tuple(filter(None, [event.get("dataset")])),
        jobs=row["jobs"],
        tasks=row["task_count"],
        estimate=row["estimate"] and msgspec.convert(row["estimate"], Estimate),
        held_by=tuple((row["held_by"] or "").splitlines()),
        decided_at=row["decided_at"],
        decided_by=row["decided_by"],
    )
