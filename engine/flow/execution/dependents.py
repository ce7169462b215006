"""Resolve the dependents of ended tasks: queue each, skip it, or leave it blocked.

Once nothing upstream is unfinished, a task is queued if it was directly triggered or an input
changed. Otherwise the task is skipped, and its own dependents are resolved in turn.
"""

from collections.abc import Collection, Mapping, Sequence
from dataclasses import dataclass
from uuid import UUID

from msgspec.structs import replace
from psycopg.types.json import Jsonb

from engine.flow.execution.cutoff import UNCHANGED, Changes, triggered_dependents
from engine.flow.execution.followers import widen_followers
from engine.flow.execution.stale_decisions import NEW_ROWS, RowFilter
from engine.flow.shared.load_partitions import existing_of
from engine.flow.shared.org_context import OrgContext
from engine.flow.shared.stale import Stale, StaleRule, judged_keys, stale_partitions
from engine.lineage.graph import Lineage
from engine.model.job import Job
from engine.model.states import Activation, TaskStatus
from engine.partitions import PartitionSet
from engine.planner import is_expected, missing_inputs
from engine.store.database import Connection
from engine.store.notifications import TASKS, notify
from engine.store.rows.stale import RecordedRun
from engine.store.rows.tasks import TaskId, UnblockedTask
from engine.store.run import execute, fetch


async def resolve_dependents(
    conn: Connection, org: OrgContext, ended: Collection[UUID], changes: Changes = UNCHANGED
) -> None:
    """Resolve all dependents of ``ended``; ``changes`` are the changed outputs of these tasks.

    Must run in the transaction in which the tasks ended.
    """
    is_any_queued = False
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
    manual = [
        job.id for job in jobs if job.activation == Activation.MANUAL and job.waits_for_inputs
    ]
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
    first_runs = [row for row in resolved if row.waits_for_inputs and row.must_run]
    queued: set[UUID] = set()
    if first_runs:
        queued |= await _queue_complete(conn, await org.lineage(conn), first_runs)
    skipped = [row for row in resolved if row.status == TaskStatus.SKIPPED]
    if skipped:
        queued |= await _queue_stale(conn, await org.lineage(conn), skipped)
    waiting = [row for row in skipped if row.waits_for_inputs and row.id not in queued]
    blocked = await _block_first_runs(conn, await org.lineage(conn), waiting) if waiting else set()
    statuses = dict.fromkeys(queued, TaskStatus.QUEUED) | dict.fromkeys(blocked, TaskStatus.BLOCKED)
    return [replace(row, status=statuses.get(row.id, row.status)) for row in resolved]


async def unblock_all(conn: Connection, org: OrgContext, ids: Sequence[UUID]) -> None:
    """Unblock locked, blocked tasks, and resolve the dependents of skipped ones."""
    resolved = await unblock(conn, org, ids)
    if any(row.status == TaskStatus.QUEUED for row in resolved):
        await notify(conn, TASKS, org.id)
    skipped = [row.id for row in resolved if row.status == TaskStatus.SKIPPED]
    await resolve_dependents(conn, org, skipped)


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
    }
    if late:
        await execute(conn, "tasks.queue_stale", ids=list(late))
    return late


def _is_due(stale: Stale, job: Job, keys: Sequence[str], row_filters: Sequence[RowFilter]) -> bool:
    """Return True if a run is due; not for rows left unread by decision and not read by the run."""
    unread = set()
    if None not in row_filters:
        unread.add(StaleRule.ROWS_NOT_READ)
        if NEW_ROWS not in row_filters:
            unread.add(StaleRule.NEW_ROWS_NOT_READ)
    judged = judged_keys(job, keys)
    reasons = (reason for key in judged for reason in stale.get((job.id, key), ()))
    return any(reason.rule not in unread for reason in reasons)


async def _queue_complete(
    conn: Connection, lineage: Lineage, rows: Sequence[UnblockedTask]
) -> set[UUID]:
    """Queue and return first runs with enough inputs; record the missing inputs of the others."""
    state = await _load_state(conn, lineage, rows)
    queued = {row.id for row in rows if row.status == TaskStatus.QUEUED}
    for row in rows:
        missing = _missing(lineage, row, state)
        if missing:
            await execute(conn, "tasks.wait_for_inputs", id=row.id, waiting_for=Jsonb(missing))
        else:
            queued.add(row.id)
    await execute(conn, "tasks.queue_first_runs", ids=list(queued))
    return queued


async def _block_first_runs(
    conn: Connection, lineage: Lineage, rows: Sequence[UnblockedTask]
) -> set[UUID]:
    """Block and return tasks about to be skipped whose first runs wait for inputs.

    Nothing that ran has reached them. But their inputs may be complete without another change, as
    when a deploy relaxes ``wait_for``, and only a waiting task is considered then.
    """
    state = await _load_state(conn, lineage, rows)
    blocked = set()
    for row in rows:
        missing = _missing(lineage, row, state)
        if missing and _is_expected(lineage, row, state.existing):
            await execute(
                conn, "tasks.block_skipped_first_run", id=row.id, waiting_for=Jsonb(missing)
            )
            blocked.add(row.id)
    return blocked


def _is_expected(
    lineage: Lineage, row: UnblockedTask, existing: Mapping[UUID, PartitionSet]
) -> bool:
    job = lineage.job(row.job_id)
    keys = judged_keys(job, row.partitions)
    return any(is_expected(lineage, job, key, existing.__getitem__) for key in keys)


@dataclass(frozen=True, slots=True)
class _State:
    """Existing partitions of the outputs and inputs of jobs, and single-run jobs that have run."""

    existing: Mapping[UUID, PartitionSet]
    have_run: Collection[UUID]


async def _load_state(conn: Connection, lineage: Lineage, rows: Sequence[UnblockedTask]) -> _State:
    jobs = [lineage.job(id_) for id_ in {row.job_id for row in rows}]
    datasets = {output for job in jobs for output in job.outputs}
    datasets |= {input_.dataset for job in jobs for input_ in job.inputs}
    single = [job for job in jobs if job.is_single_run]
    outputs = [lineage.dataset(job.outputs[0]) for job in single]
    runs = await fetch(
        conn,
        "stale.last_runs",
        RecordedRun,
        datasets=[output.id for output in outputs],
        versions=[output.version for output in outputs],
    )
    have_run = {job.id for job, run in zip(single, runs, strict=True) if run.task_id}
    return _State(await existing_of(conn, lineage, datasets), have_run)


def _missing(lineage: Lineage, row: UnblockedTask, state: _State) -> dict[str, list[str]] | None:
    """Return the missing inputs of a first run; None for a later run, which waits for none.

    The first run of a job that discovers its partitions may have built none.
    """
    if row.job_id in state.have_run:
        return None
    job = lineage.job(row.job_id)
    space = lineage.job_space(job)
    built = PartitionSet.union([state.existing[output] for output in job.outputs])
    first_time = [key for key in row.partitions if not built.covers(space.parse(key))]
    # A job that discovers its partitions may have a task without any.
    is_first_run = first_time or not (row.partitions or built)
    if not is_first_run:
        return None
    return missing_inputs(lineage, job, first_time, state.existing.__getitem__)
