"""Plans, as they are listed."""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from datetime import datetime
from typing import Any
from uuid import UUID

import msgspec

from engine.api.invalidations import InvalidationRow, named_invalidations
from engine.api.pruning import PrunedEdge, pruned_edges
from engine.api.tasks import id_ending
from engine.errors import UnknownName
from engine.flow.estimate import Estimate
from engine.flow.scene import Scene
from engine.planner import hops_of
from engine.store.database import Connection
from engine.store.run import Row, fetch, fetch_one

_MOST_FACTS = 10


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


@dataclass(frozen=True, slots=True)
class PlanStep:
    """One job's part of a plan; ``direct`` partitions run for sure, the rest if an input changes.

    ``via`` are the datasets whose change led there.
    """

    job: str
    partitions: tuple[str, ...]
    direct: tuple[str, ...]
    columns: Mapping[str, Sequence[str]]
    row_filters: tuple[Any, ...]
    via: tuple[str, ...]


@dataclass(frozen=True, slots=True)
class PlanView:
    """A plan with its steps, parents first, where it stops, and what it is about."""

    plan: PlanRow
    steps: tuple[PlanStep, ...]
    pruned: tuple[PrunedEdge, ...]
    invalidations: tuple[InvalidationRow, ...]
    more_invalidations: int


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


async def plan_view(conn: Connection, scene: Scene, plan: UUID) -> PlanView:
    """All of one plan. Raises UnknownName."""
    row = await fetch_one(conn, "plans.whole", org_id=scene.org_id, id=plan)
    if row is None:
        raise UnknownName(f"there is no plan {plan} in this org: see 'knockon plans'")
    ids = row["invalidation_ids"]
    facts = await named_invalidations(conn, scene, ids[:_MOST_FACTS])
    document = row["document"]
    return PlanView(
        plan=_plan(row),
        steps=tuple(_step(document, step) for step in document["steps"]),
        pruned=tuple(pruned_edges(document)),
        invalidations=tuple(facts),
        more_invalidations=len(ids) - len(facts),
    )


async def plan_id(conn: Connection, scene: Scene, text: str) -> UUID:
    """The plan that a whole id, or the end of one, names. Raises InvalidInput, UnknownName."""
    return await id_ending(conn, scene, text, "plan", "views.plan_ids")


def _step(document: Mapping[str, Any], step: Mapping[str, Any]) -> PlanStep:
    partitions = tuple(step["partitions"])
    direct = step.get("direct", ())
    return PlanStep(
        job=step["name"],
        partitions=partitions,
        direct=partitions if direct == "all" else tuple(direct),
        columns=step.get("columns", {}),
        row_filters=tuple(step.get("row_filters", ())),
        via=tuple(dict.fromkeys(hop["dataset"] for hop in hops_of(document, step))),
    )


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
