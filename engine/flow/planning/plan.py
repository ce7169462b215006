"""Plan unprocessed invalidations: create tasks, and record the jobs that have received theirs.

Planning is one transaction, so a crash before the commit leaves the invalidations unchanged. A
plan that exceeds a limit is stored as pending approval. If planning fails on the data of
invalidations, the batch is halved until the faulty ones are isolated and set aside. Invalidations
whose planning never ends are set aside too (`planning_attempts.py`).
"""

from asyncio import get_running_loop
from collections.abc import Awaitable, Callable, Mapping, Sequence
from dataclasses import dataclass
from itertools import islice
from operator import attrgetter
from typing import Any
from uuid import UUID

from psycopg.types.json import Jsonb

from engine.flow.execution.dependents import unblock_manual_first_runs
from engine.flow.execution.row_changes import bound_row_changes
from engine.flow.planning.decision import Decision, decide_rows
from engine.flow.planning.declare_wrong import declare_wrong
from engine.flow.planning.emit import emit
from engine.flow.planning.fingerprints import store_fingerprints
from engine.flow.planning.pending_approval import (
    limits_exceeded,
    restrict_to_existing,
    store_pending,
)
from engine.flow.planning.planning_attempts import Attempt, attempting, too_costly
from engine.flow.planning.set_aside import planning, set_aside
from engine.flow.shared.chains import left_out
from engine.flow.shared.invalidations import NewInvalidation, insert_own
from engine.flow.shared.org_context import OrgContext
from engine.flow.shared.quotas import has_room_to_plan
from engine.garbage_collection import gc_paused
from engine.lineage.columns import stored_columns
from engine.lineage.content import MOST_ROW_CHANGES
from engine.lineage.graph import Lineage
from engine.model.invalidation import LEFT_OUT
from engine.model.states import InvalidationOutcome
from engine.planner import LimitExceeded, Plan
from engine.store.database import Connection
from engine.store.failures import is_due_to_data
from engine.store.ids import new_id
from engine.store.notifications import TASKS, notify
from engine.store.orgs import settings
from engine.store.rows.invalidations import InvalidationId, LockedInvalidation
from engine.store.rows.partitions import PartitionKey
from engine.store.run import execute, fetch

_MARKED_AT_ONCE = 100_000
"""Keys per statement."""


@dataclass(frozen=True, slots=True)
class Planned:
    """Result of planning: the plan, and the numbers of invalidations taken and tasks affected.

    A plan with ``exceeded_limits`` is pending approval and has no tasks. ``set_aside`` are the
    invalidations that cannot be planned. For a halved batch, ``plan_id`` is the last of several
    plans; None if all invalidations were set aside.
    """

    plan_id: UUID | None
    invalidations: int
    tasks: int
    exceeded_limits: tuple[LimitExceeded, ...] = ()
    set_aside: tuple[UUID, ...] = ()

    def __add__(self, other: "Planned") -> "Planned":
        return Planned(
            other.plan_id or self.plan_id,
            self.invalidations + other.invalidations,
            self.tasks + other.tasks,
            self.exceeded_limits + other.exceeded_limits,
            self.set_aside + other.set_aside,
        )


async def plan(conn: Connection, org: OrgContext, limit: int = 1_000) -> Planned | None:
    """Plan up to ``limit`` of the oldest open invalidations.

    Returns None if none is open, or if the org has as many unfinished tasks as its quota permits.

    If the batch exceeds a limit, only the invalidations of the first one's dataset are taken, so
    that no plan requires approval because of unrelated invalidations.
    """
    if not await has_room_to_plan(conn, org):
        return None
    async with attempting(conn, org, limit) as attempt:
        if attempt is None:
            return None
        if attempt.is_exhausted:
            return await _set_aside_exhausted(conn, org, attempt)
        with gc_paused():
            try:
                async with conn.transaction():
                    return await _plan_batch(conn, org, attempt, _plan_within_limits)
            except Exception as error:
                if not is_due_to_data(error):
                    raise
            # Savepoints cost two round trips, and so only a faulty batch has them.
            async with conn.transaction():
                return await _plan_batch(conn, org, attempt, _plan_halving)


_PlanRows = Callable[[Connection, OrgContext, Sequence[LockedInvalidation]], Awaitable[Planned]]


async def _plan_batch(
    conn: Connection, org: OrgContext, attempt: Attempt, plan_rows: _PlanRows
) -> Planned | None:
    limit = attempt.batch_limit
    if limit == 1:
        await execute(conn, "planning_attempts.extend_timeout")
    rows = await fetch(
        conn, "invalidations.lock_open", LockedInvalidation, org_id=org.id, limit=limit
    )
    if not rows:
        return None
    return await plan_rows(conn, org, rows)


async def _set_aside_exhausted(conn: Connection, org: OrgContext, attempt: Attempt) -> Planned:
    async with conn.transaction():
        await execute(conn, "planning_attempts.reset", org_id=org.id)
        rows = await fetch(
            conn, "invalidations.lock_these", LockedInvalidation, ids=[attempt.oldest]
        )
        for row in rows:
            await set_aside(conn, row, too_costly(attempt))
        return Planned(None, 0, 0, set_aside=tuple(row.id for row in rows))


async def _plan_halving(
    conn: Connection, org: OrgContext, rows: Sequence[LockedInvalidation]
) -> Planned:
    """Plan a batch; on a data error, plan its halves, down to single invalidations."""
    try:
        async with conn.transaction():
            return await _plan_within_limits(conn, org, rows)
    except Exception as error:
        if not is_due_to_data(error):
            raise
        await _raise_errors_of_org(conn, org)
        if len(rows) == 1:
            await set_aside(conn, rows[0], error)
            return Planned(None, 0, 0, set_aside=(rows[0].id,))
    middle = len(rows) // 2
    first, second = [
        await _plan_halving(conn, org, half) for half in (rows[:middle], rows[middle:])
    ]
    return first + second


async def _raise_errors_of_org(conn: Connection, org: OrgContext) -> None:
    """Raise an error of the whole org, for which no invalidation is to blame."""
    await org.lineage(conn)
    await settings(conn, org.id)


async def decide_own(
    conn: Connection,
    org: OrgContext,
    invalidations: Sequence[NewInvalidation],
    earlier: Sequence[UUID] = (),
) -> Decision:
    """Write invalidations, and decide on them together with earlier ones.

    Must run in the caller's transaction, under the planning lock. Raises InvalidInput if the
    invalidations cannot be planned.
    """
    written = await fetch(
        conn,
        "invalidations.insert",
        InvalidationId,
        org_id=org.id,
        invalidations=Jsonb(invalidations),
    )
    ids = [*earlier, *(row.id for row in written)]
    rows = await fetch(conn, "invalidations.lock_these", LockedInvalidation, ids=ids)
    with planning("the changed definition"):
        return await decide_rows(conn, org, rows)


async def execute_plan(
    conn: Connection, org: OrgContext, decision: Decision, plan_id: UUID
) -> Planned:
    """Execute a plan, and record it under ``plan_id``, which may exist already."""
    await _mark_changed(conn, org, decision.lineage, decision.plan)
    await store_fingerprints(conn, decision.lineage, decision.compared.fingerprints)
    await declare_wrong(conn, decision.lineage, decision.plan)
    # The document is built in a thread while the server receives the tasks.
    document = get_running_loop().run_in_executor(None, lambda: decision.document)
    tasks = await emit(conn, org, decision.lineage, decision.plan, plan_id)
    await insert_own(conn, org, [*left_out(decision.lineage, decision.plan, f"plan/{plan_id}")])
    await unblock_manual_first_runs(conn, org, decision.lineage, decision.plan.changed)
    built = await document
    await _record(conn, org, decision, plan_id, tasks, built)
    await notify(conn, TASKS, org.id)
    return Planned(plan_id, len(decision.invalidations), tasks)


async def _plan_within_limits(
    conn: Connection, org: OrgContext, rows: Sequence[LockedInvalidation]
) -> Planned:
    continued = [row for row in rows if row.reason in LEFT_OUT]
    decision = await decide_rows(conn, org, rows)
    # Partitions left out by a plan were within the limits, or approved, with that plan.
    is_approved = len(continued) == len(rows)
    exceeded = [] if is_approved else await limits_exceeded(conn, org, decision)
    if not exceeded:
        return await execute_plan(conn, org, decision, new_id())
    if continued:
        return await _plan_within_limits(conn, org, continued)
    of_first_dataset = [row for row in rows if row.dataset_uuid == rows[0].dataset_uuid]
    if len(of_first_dataset) < len(rows):
        return await _plan_within_limits(conn, org, of_first_dataset)
    plan_id = await store_pending(conn, org, decision, exceeded)
    restricted = await restrict_to_existing(conn, decision)
    await _mark_changed(conn, org, decision.lineage, restricted)
    return Planned(plan_id, len(decision.invalidations), 0, tuple(exceeded))


async def _mark_changed(conn: Connection, org: OrgContext, lineage: Lineage, plan: Plan) -> None:
    """Assign a new content version to partitions that changed outside of tasks."""
    for dataset, changed in plan.changed.items():
        space, version = lineage.space(dataset), lineage.dataset(dataset).version
        is_source = lineage.producer(dataset).is_source
        for partitions, columns, rows in changed:
            keys = space.keys(partitions)
            while part := list(islice(keys, _MARKED_AT_ONCE)):
                unbounded = await fetch(
                    conn,
                    "partitions.mark_changed",
                    PartitionKey,
                    org_id=org.id,
                    dataset=dataset,
                    version=version,
                    keys=part,
                    columns=stored_columns(columns),
                    rows=None if rows is None else Jsonb(rows.spec()),
                    is_source=is_source,
                    most=MOST_ROW_CHANGES,
                )
                if unbounded:
                    over = [row.key for row in unbounded]
                    await bound_row_changes(conn, lineage, dataset, version, over)


async def _record(
    conn: Connection,
    org: OrgContext,
    decision: Decision,
    plan_id: UUID,
    tasks: int,
    document: Mapping[str, Any],
) -> None:
    await execute(
        conn,
        "plans.insert",
        id=plan_id,
        org_id=org.id,
        epoch=org.epoch,
        invalidation_ids=[invalidation.id for invalidation in decision.invalidations],
        document=Jsonb(document),
        task_count=tasks,
    )
    processed, unchanged = [], decision.unchanged
    for invalidation in decision.invalidations:
        jobs = sorted(decision.plan.invalidations.get(invalidation.id, ()), key=attrgetter("int"))
        outcome = InvalidationOutcome.PLANNED if jobs else InvalidationOutcome.AFFECTS_NOTHING
        if invalidation.id in unchanged:
            outcome = InvalidationOutcome.UNCHANGED
        processed.append({"id": invalidation.id, "jobs": jobs, "outcome": outcome})
    await execute(conn, "invalidations.processed", plan_id=plan_id, rows=Jsonb(processed))
