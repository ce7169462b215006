"""Plans."""

from collections.abc import Mapping, Sequence
from datetime import datetime
from operator import attrgetter
from typing import Any
from uuid import UUID

import msgspec

from engine.flow.planning.estimate import Cost, Estimate
from engine.flow.shared.org_context import OrgContext
from engine.lineage.diff import DagDiff
from engine.model.states import PlanState, Role
from engine.planner import hops_of, partitions_of
from engine.service.caller import Caller, requires
from engine.service.ids import plan_id
from engine.service.keyset import NEWEST
from engine.service.masking import HIDDEN
from engine.service.queries.invalidations import (
    InvalidationRow,
    load_invalidations,
    visible_invalidations,
)
from engine.service.queries.pruning import PrunedEdge, pruned_edges
from engine.service.service import Service
from engine.service.visibility import EVERYTHING, Visibility, visible_plans
from engine.store.database import Connection
from engine.store.rows.plans import PlanSummary, WholePlan
from engine.store.run import fetch

__all__ = ["Cost", "Estimate", "PlanRow", "PlanStep", "PlanView", "load_plans", "plan", "plans"]

_MAX_INVALIDATIONS = 10


class PlanRow(msgspec.Struct, frozen=True):
    """A plan.

    ``datasets`` are the changed datasets, and ``dags`` those of a deploy. ``exceeded_limits`` are
    described in words. ``estimate`` is null for plans that ran immediately. ``deployed_by`` is the
    author of a deploy.
    """

    id: UUID
    state: PlanState
    created_at: datetime
    datasets: tuple[str, ...]
    dags: tuple[str, ...]
    deployed_by: str | None
    jobs: int
    tasks: int
    estimate: Estimate | None
    exceeded_limits: tuple[str, ...]
    decided_at: datetime | None
    decided_by: str | None


class PlanStep(msgspec.Struct, frozen=True):
    """A job in a plan; ``directly_invalidated`` partitions must run, others if an input changes.

    ``via`` are the datasets with changes for the job.
    """

    job: str
    partitions: tuple[str, ...]
    directly_invalidated: tuple[str, ...]
    columns: Mapping[str, Sequence[str]]
    row_filters: tuple[Any, ...]
    via: tuple[str, ...]


class PlanView(msgspec.Struct, frozen=True):
    """A plan with steps, upstream first, pruned edges, and invalidations.

    ``changes`` are those of a deploy, by DAG; deploys of earlier releases have none.
    """

    plan: PlanRow
    steps: tuple[PlanStep, ...]
    pruned: tuple[PrunedEdge, ...]
    invalidations: tuple[InvalidationRow, ...]
    more_invalidations: int
    changes: Mapping[str, DagDiff]


@requires(Role.READER)
async def plans(
    caller: Caller,
    service: Service,
    *,
    states: Sequence[PlanState] | None = None,
    limit: int = 50,
    before: UUID = NEWEST,
) -> list[PlanRow]:
    """List plans before an id, newest first, optionally in some states."""
    async with service.snapshot(caller) as (conn, org):
        visible = await service.visibility(caller, conn, org)
        return await load_plans(
            conn, org, states=states, limit=limit, before=before, visible=visible
        )


@requires(Role.READER)
async def plan(caller: Caller, service: Service, plan: str) -> PlanView:
    """Return a plan, by the id or its ending. Raises InvalidInput, UnknownName."""
    async with service.snapshot(caller) as (conn, org):
        visible = await service.visibility(caller, conn, org)
        id_ = await plan_id(conn, org, plan, visible)
        (row,) = await fetch(conn, "plans.whole", WholePlan, org_id=org.id, id=id_)
        document = row.document
        ids = await visible_invalidations(conn, org, visible, row.invalidation_ids)
        invalidations = await load_invalidations(conn, org, ids[:_MAX_INVALIDATIONS])
    return PlanView(
        plan=_plan(row),
        steps=tuple(_step(document, step, visible) for step in document["steps"]),
        pruned=tuple(pruned_edges(document["pruned"])),
        invalidations=tuple(invalidations),
        more_invalidations=len(row.invalidation_ids) - len(invalidations),
        changes=_changes(row, visible),
    )


async def load_plans(
    conn: Connection,
    org: OrgContext,
    *,
    states: Sequence[PlanState] | None,
    limit: int,
    before: UUID = NEWEST,
    visible: Visibility = EVERYTHING,
) -> list[PlanRow]:
    """Load visible plans before an id, newest first, optionally in some states."""
    params: dict[str, Any] = {"org_id": org.id, "states": None if states is None else list(states)}
    plans: list[PlanRow] = []
    while len(plans) < limit:
        rows = await fetch(conn, "plans.list", PlanSummary, limit=limit, before=before, **params)
        shown = await visible_plans(conn, org, visible, rows, attrgetter("id"))
        plans += [_plan(row) for row in shown]
        if len(rows) < limit:
            break
        before = rows[-1].id
    return plans[:limit]


def _changes(row: PlanSummary, visible: Visibility) -> dict[str, DagDiff]:
    """Return the changes of a deploy, except for DAGs with hidden datasets."""
    stored = msgspec.convert((row.event or {}).get("changes", {}), dict[str, DagDiff])
    return {dag: diff for dag, diff in stored.items() if dag not in visible.partly_hidden_dags}


def _step(document: Mapping[str, Any], step: Mapping[str, Any], visible: Visibility) -> PlanStep:
    if UUID(step["job"]) in visible.job_ids:
        return PlanStep(HIDDEN, (HIDDEN,), (), {}, (), (HIDDEN,))
    partitions = tuple(partitions_of(step))
    invalidated = step.get("directly_invalidated", ())
    return PlanStep(
        job=step["name"],
        partitions=partitions,
        directly_invalidated=partitions if invalidated == "all" else tuple(invalidated),
        columns=step.get("columns", {}),
        row_filters=tuple(step.get("row_filters", ())),
        via=tuple(dict.fromkeys(hop["dataset"] for hop in hops_of(document, step))),
    )


def _plan(row: PlanSummary) -> PlanRow:
    event = row.event or {}
    return PlanRow(
        id=row.id,
        state=PlanState(row.state),
        created_at=row.created_at,
        datasets=tuple(row.datasets) or tuple(filter(None, [event.get("dataset")])),
        dags=tuple(file["dag"] for file in event.get("deploy", ())),
        deployed_by=event.get("by"),
        jobs=row.jobs,
        tasks=row.task_count,
        estimate=None if row.estimate is None else msgspec.convert(row.estimate, Estimate),
        exceeded_limits=tuple((row.exceeded_limits or "").splitlines()),
        decided_at=row.decided_at,
        decided_by=row.decided_by,
    )
