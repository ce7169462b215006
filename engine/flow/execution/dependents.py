"""Resolve the dependents of ended tasks: queue each, skip it, or leave it blocked.

Once nothing upstream is unfinished, a task is queued if it was directly triggered or an input
changed. Otherwise the task is skipped, and its own dependents are resolved in turn.
"""

from collections.abc import Collection, Sequence
from uuid import UUID

from msgspec.structs import replace

from engine.flow.execution.cutoff import UNCHANGED, Changes, triggered_dependents
from engine.flow.execution.first_runs import block_expected, block_incomplete
from engine.flow.execution.followers import widen_followers
from engine.flow.shared.chains import notify_waiting
from engine.flow.shared.load_partitions import load_existing
from engine.flow.shared.org_context import OrgContext
from engine.flow.shared.stale import Stale, StaleRule, judged_keys, stale_partitions
from engine.lineage.graph import Lineage
from engine.model.job import Job
from engine.model.states import ExecutionStrategy, TaskStatus
from engine.model.task import NEW_ROWS, StoredFilter
from engine.store.database import Connection
from engine.store.notifications import TASKS, notify
from engine.store.rows.tasks import TaskId, UnblockedTask
from engine.store.run import execute, fetch


async def resolve_dependents(
    conn: Connection,
    org: OrgContext,
    lineage: Lineage,
    ended: Collection[UUID],
    changes: Changes = UNCHANGED,
) -> None:
    """Resolve all dependents of ``ended``; ``changes`` are the changed outputs of these tasks.

    Must run in the transaction in which the tasks ended.
    """
    is_any_queued = False
    if ended:
        await notify_waiting(conn, org, lineage)
    while ended:
        dependents = await fetch(conn, "tasks.lock_dependents", TaskId, ended=list(ended))
        if changes.rewritten:
            await widen_followers(conn, await org.lineage(conn), changes.rewritten)
        if not dependents:
            break
        resolved = await unblock(conn, org, [row.id for row in dependents], changes)
        is_any_queued = is_any_queued or any(row.status == TaskStatus.QUEUED for row in resolved)
        ended, changes = (
            [row.id for row in resolved if row.status == TaskStatus.SKIPPED],
            UNCHANGED,
        )
    if is_any_queued:
        await notify(conn, TASKS, org.id)


async def unblock_manual_first_runs(
    conn: Connection, org: OrgContext, lineage: Lineage, grown: Collection[UUID]
) -> None:
    """Unblock first runs of manual jobs whose inputs, among ``grown``, may be complete now.

    Changes do not trigger manual jobs, so no plan considers these tasks again.
    """
    readers = {edge.job for dataset in grown for edge in lineage.readers(dataset)}
    jobs = map(lineage.job, readers)
    manual = [job.id for job in jobs if job.is_manual and job.waits_for_inputs]
    if not manual:
        return
    waiting = await fetch(conn, "tasks.lock_waiting_for_inputs", TaskId, jobs=manual)
    if waiting:
        await unblock_all(conn, org, [row.id for row in waiting])


async def unblock(
    conn: Connection, org: OrgContext, ids: Sequence[UUID], changes: Changes = UNCHANGED
) -> list[UnblockedTask]:
    """Unblock the given locked tasks if all blockers have ended.

    Returns the rows that changed state, with the new ``status``.
    """
    triggered = list(await triggered_dependents(conn, org, changes.parts))
    resolved = await fetch(
        conn,
        "tasks.unblock",
        UnblockedTask,
        ids=list(ids),
        changed=list(changes.whole),
        triggered=triggered,
    )
    skipped = [row for row in resolved if row.status == TaskStatus.SKIPPED]
    queued = await _queue_stale(conn, await org.lineage(conn), skipped) if skipped else set()
    waiting = [row for row in resolved if row.waits_for_inputs]
    due = [row for row in waiting if row.must_run or row.id in queued]
    blocked = await block_incomplete(conn, await org.lineage(conn), due) if due else set()
    idle = [row for row in waiting if row.status == TaskStatus.SKIPPED and row.id not in queued]
    blocked |= await block_expected(conn, await org.lineage(conn), idle) if idle else set()
    queued |= {row.id for row in due}
    statuses = dict.fromkeys(queued, TaskStatus.QUEUED) | dict.fromkeys(blocked, TaskStatus.BLOCKED)
    return [replace(row, status=statuses.get(row.id, row.status)) for row in resolved]


async def unblock_all(conn: Connection, org: OrgContext, ids: Sequence[UUID]) -> None:
    """Unblock locked, blocked tasks, and resolve the dependents of skipped ones."""
    resolved = await unblock(conn, org, ids)
    if any(row.status == TaskStatus.QUEUED for row in resolved):
        await notify(conn, TASKS, org.id)
    if skipped := [row.id for row in resolved if row.status == TaskStatus.SKIPPED]:
        await resolve_dependents(conn, org, await org.lineage(conn), skipped)


async def _queue_stale(
    conn: Connection, lineage: Lineage, skipped: Sequence[UnblockedTask]
) -> set[UUID]:
    """Queue and return tasks about to be skipped whose partitions are stale, for any cause."""
    needs = [(lineage.job(row.job_id), row.partitions) for row in skipped]
    stale = await stale_partitions(conn, lineage, needs)
    late = {
        row.id
        for row, (job, keys) in zip(skipped, needs, strict=True)
        if _is_due(stale, job, keys, row.row_filters)
        or await _has_unbuilt(conn, lineage, job, keys)
    }
    if late:
        await execute(conn, "tasks.queue_stale", ids=list(late))
    return late


async def _has_unbuilt(conn: Connection, lineage: Lineage, job: Job, keys: Sequence[str]) -> bool:
    """Return True if a `Full` job with bounds is to build partitions that its runs have not built.

    Its staleness is judged as a whole, and no later change may name partitions that have come into
    being since its last run. Before the first run, the rule for partitions never built applies.
    """
    space = lineage.job_space(job)
    if job.strategy != ExecutionStrategy.FULL or not space.universe.is_finite:
        return False
    existing = await load_existing(conn, lineage, job.outputs[0])
    return bool(existing) and not existing.covers(space.from_keys(keys))


def _is_due(
    stale: Stale, job: Job, keys: Sequence[str], row_filters: Sequence[StoredFilter]
) -> bool:
    """Return True if a run is due; not for rows left unread by decision and not read by the run."""
    unread = set()
    if None not in row_filters:
        unread.add(StaleRule.ROWS_NOT_READ)
        if NEW_ROWS not in row_filters:
            unread.add(StaleRule.NEW_ROWS_NOT_READ)
    judged = judged_keys(job, keys)
    reasons = (reason for key in judged for reason in stale.get((job.id, key), ()))
    return any(reason.rule not in unread for reason in reasons)
