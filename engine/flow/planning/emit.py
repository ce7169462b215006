"""Emit the steps of a plan as tasks, either new or merged into existing unstarted tasks."""

from collections import defaultdict
from collections.abc import Sequence
from functools import cache
from uuid import UUID

import msgspec
from psycopg.types.json import Jsonb

from engine.flow.execution.dependents import unblock_all
from engine.flow.execution.ignored_failures import release_dependents
from engine.flow.execution.stale_decisions import delete_decisions
from engine.flow.planning.planned_tasks import (
    ANY_BLOCK,
    PlannedTask,
    TaskKey,
    Unfinished,
    add_blockers,
    behind_earlier,
    join_unstarted,
    keys_behind,
    planned_tasks,
)
from engine.flow.shared.org_context import OrgContext
from engine.garbage_collection import gc_paused
from engine.lineage.graph import Lineage
from engine.model.states import TaskStatus
from engine.planner import Plan
from engine.planner.strategy import MAX_FILTERS
from engine.store.copying import NULL, boolean, copy_in, int4, jsonb, text, texts, uuid, uuids
from engine.store.database import Connection
from engine.store.rows.tasks import TaskId, UnfinishedTask
from engine.store.run import execute, fetch


async def emit(
    conn: Connection, org: OrgContext, lineage: Lineage, plan: Plan, plan_id: UUID
) -> int:
    """Write the tasks of a plan and their dependencies; return the number of tasks touched."""
    with gc_paused():
        tasks = list(planned_tasks(lineage, plan))
        if tasks:
            await _emit(conn, org, lineage, tasks, plan_id)
        return len(tasks)


async def _emit(
    conn: Connection,
    org: OrgContext,
    lineage: Lineage,
    tasks: Sequence[PlannedTask],
    plan_id: UUID,
) -> None:
    unfinished = await _lock_unfinished(conn, lineage, tasks)
    join_unstarted(tasks, unfinished)
    add_blockers(tasks, unfinished)
    behind = behind_earlier(lineage, tasks, unfinished) if lineage.has_chains else []
    # A decision on a first run that waits for inputs lasts until a change reaches it.
    planned = (
        (task.job, task.partitions, task.row_filters)
        for task in tasks
        if task.must_run or not task.job.waits_for_inputs
    )
    await delete_decisions(conn, lineage, planned)
    await _join(conn, org, [task for task in tasks if task.is_joined], plan_id)
    await _create(conn, org, [task for task in tasks if not task.is_joined], plan_id)
    await _block_behind(conn, org, behind)
    if lineage.ignores_failures:
        await _release_dependents(conn, org, tasks, unfinished)
    # Blocked only for a check of their inputs, which may already be complete.
    unchecked = [UUID(bytes=task.id) for task in tasks if task.starts_blocked and not task.blockers]
    if unchecked:
        await unblock_all(conn, org, unchecked)


async def _release_dependents(
    conn: Connection, org: OrgContext, tasks: Sequence[PlannedTask], unfinished: Unfinished
) -> None:
    """Unblock tasks of the plan that ignore failures of unfinished tasks outside of the plan."""
    planned = {UUID(bytes=task.id) for task in tasks}
    outside = {row.id for rows in unfinished.values() for row in rows if row.id not in planned}
    failed = await fetch(conn, "tasks.failed_among", TaskId, ids=sorted(outside))
    await release_dependents(conn, org, [row.id for row in failed])


async def _lock_unfinished(
    conn: Connection, lineage: Lineage, tasks: Sequence[PlannedTask]
) -> Unfinished:
    """Lock the unfinished tasks of all keys."""
    keys = {task.key for task in tasks}
    for task in tasks:
        keys.update(task.upstream)
    if lineage.has_chains:
        keys.update(key for task in tasks for key in keys_behind(lineage, task))
    unfinished: dict[TaskKey, list[UnfinishedTask]] = defaultdict(list)
    jobs, block_keys = [_hex(job) for job, _ in keys], [block_key for _, block_key in keys]
    for row in await fetch(
        conn, "tasks.lock_unfinished", UnfinishedTask, jobs=jobs, block_keys=block_keys
    ):
        unfinished[row.job_id.int, row.block_key].append(row)
    whole_jobs = [_hex(job) for job, block_key in keys if block_key == ANY_BLOCK]
    if whole_jobs:
        for row in await fetch(
            conn, "tasks.lock_unfinished_of_jobs", UnfinishedTask, jobs=whole_jobs
        ):
            unfinished[row.job_id.int, ANY_BLOCK].append(row)
    return unfinished


def _hex(job: int) -> str:
    """Return a text accepted by PostgreSQL as a UUID."""
    return f"{job:032x}"


async def _join(
    conn: Connection, org: OrgContext, tasks: Sequence[PlannedTask], plan_id: UUID
) -> None:
    """Merge planned tasks into existing ones."""
    if not tasks:
        return
    rows = [
        {
            "id": UUID(bytes=task.id),
            "must_run": task.must_run,
            "blocked": task.starts_blocked,
            "partitions": task.partitions,
            "row_filters": task.row_filters,
            "propagated": task.propagated and msgspec.Raw(task.propagated),
        }
        for task in tasks
    ]
    await execute(conn, "tasks.join", rows=Jsonb(rows), plan_id=plan_id, max_filters=MAX_FILTERS)
    dependencies = [
        {
            "task_id": UUID(bytes=task.id),
            "depends_on": UUID(bytes=blocker),
            "datasets": datasets,
        }
        for task in tasks
        for blocker, datasets in task.blockers.items()
    ]
    if dependencies:
        await execute(conn, "tasks.add_dependencies", org_id=org.id, rows=Jsonb(dependencies))


async def _block_behind(
    conn: Connection, org: OrgContext, behind: Sequence[tuple[bytes, bytes]]
) -> None:
    """Let tasks of later partitions wait for new tasks of earlier ones of the same job."""
    if behind:
        pairs = [(UUID(bytes=task), UUID(bytes=blocker)) for task, blocker in behind]
        await execute(conn, "tasks.block_behind", ids=[task for task, _ in pairs])
        rows = [{"task_id": task, "depends_on": blocker} for task, blocker in pairs]
        await execute(conn, "tasks.add_dependencies", org_id=org.id, rows=Jsonb(rows))


async def _create(
    conn: Connection, org: OrgContext, tasks: Sequence[PlannedTask], plan_id: UUID
) -> None:
    """Copy new tasks into the database."""
    # Most values repeat across tasks, so their encodings are cached.
    words, keys, number, datasets = cache(text), cache(texts), cache(int4), cache(_uuids)
    filters, org_id, plan_ids = cache(jsonb), uuid(org.id.bytes), uuids([plan_id.bytes])
    rows = (
        (
            uuid(task.id),
            uuid(task.job.id.bytes),
            words(TaskStatus.BLOCKED if task.starts_blocked else TaskStatus.QUEUED),
            keys(task.partitions),
            org_id,
            words(task.job.runtime),
            number(task.job.priority),
            words(task.key[1]),
            boolean(task.must_run),
            filters(msgspec.json.encode(task.row_filters)),
            NULL if task.propagated is None else jsonb(task.propagated),
            plan_ids,
        )
        for task in tasks
    )
    await copy_in(conn, "tasks.copy_in", rows)
    dependencies = (
        (org_id, uuid(task.id), uuid(blocker), datasets(dirty))
        for task in tasks
        for blocker, dirty in task.blockers.items()
    )
    await copy_in(conn, "tasks.copy_dependencies", dependencies)


def _uuids(datasets: tuple[UUID, ...]) -> bytes:
    return uuids(dataset.bytes for dataset in datasets)
