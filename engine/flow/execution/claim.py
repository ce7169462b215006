"""Claim queued tasks: each becomes running under a lease with a fencing token."""

from collections.abc import Collection, Iterable, Iterator, Mapping, Sequence
from dataclasses import dataclass
from uuid import UUID

import structlog
from psycopg.types.json import Jsonb

from engine.flow.execution.ignored_failures import release_dependents
from engine.flow.execution.terms import Terms
from engine.flow.shared.org_context import OrgContext
from engine.flow.shared.quotas import room_to_run
from engine.flow.shared.task_inputs import InputVersions, input_versions
from engine.lineage.graph import Lineage
from engine.lineage.job_names import find_job
from engine.model.job import Job
from engine.model.task import NEW_ROWS, Lease, StoredFilter
from engine.store.database import Connection
from engine.store.failures import is_due_to_data, reason_of
from engine.store.rows.cursors import JobCursor
from engine.store.rows.tasks import Candidate, CappedJob, LeasedTask, RunningCount
from engine.store.run import execute, fetch

_OUTCOME = "its inputs cannot be read; fix the cause, then retry or cancel it"

_AT_DATABASE = "sql"

_log = structlog.get_logger(__name__)


@dataclass(frozen=True, slots=True)
class Claimant:
    """A worker claiming tasks: its id, the runtimes served, and the requested lease duration.

    ``jobs`` and ``operators`` limit the tasks to those of jobs with one of these names and one of
    these operators; without names, all jobs are served, except those of the operator ``sql`` by a
    remote worker, which has no connection to the database. Jobs with ``hidden`` full names
    count as unknown.
    """

    worker_id: str
    runtimes: tuple[str, ...] = ("local",)
    lease_seconds: int = 30
    jobs: tuple[str, ...] = ()
    operators: tuple[str, ...] = ()
    is_remote: bool = False
    hidden: frozenset[str] = frozenset()

    def served(self, lineage: Lineage) -> Sequence[Job] | None:
        """Return the jobs served; None: all.

        Raises UnknownName or InvalidInput if a name means no job, or several.
        """
        if not (self.jobs or self.operators or self.is_remote):
            return None
        named = (
            [find_job(lineage, name, self.hidden) for name in self.jobs]
            if self.jobs
            else lineage.order
        )
        return [
            job
            for job in named
            if job.full_name not in self.hidden
            and (not self.operators or job.operator in self.operators)
            and not (self.is_remote and job.operator == _AT_DATABASE)
        ]


async def claim(
    conn: Connection, org: OrgContext, claimant: Claimant, limit: int = 1
) -> list[Lease]:
    """Lease up to ``limit`` tasks, the most urgent first.

    The leases stay within each job's ``max_concurrency`` and the org's quota of running tasks.

    Content versions of the inputs are read before the run reads its data, so that later changes
    have newer versions. If this read fails because of the data of the tasks, half as many are
    tried. A task that cannot be leased alone is marked as failed, so as not to block the others.
    """
    try:
        return await _claim(conn, org, claimant, limit)
    except _NotLeasable as failure:
        if len(failure.tasks) > 1:
            return await claim(conn, org, claimant, len(failure.tasks) // 2)
        (task,) = failure.tasks
        _log.error("task cannot be leased", task=str(task), why=failure.reason)
        async with conn.transaction():
            await execute(conn, "tasks.reject", id=task, error=failure.reason, outcome=_OUTCOME)
            await release_dependents(conn, org, [task])
        return []


class _NotLeasable(Exception):
    """Raised if the inputs of tasks cannot be read because of the data of the tasks."""

    def __init__(self, tasks: Sequence[UUID], reason: str) -> None:
        self.tasks = tasks
        self.reason = reason
        super().__init__(reason)


async def _claim(conn: Connection, org: OrgContext, claimant: Claimant, limit: int) -> list[Lease]:
    async with conn.transaction():
        lineage = await org.lineage(conn)
        limit = await room_to_run(conn, org, limit)
        if not limit:
            return []
        served = claimant.served(lineage)
        free_slots = await _free_slots(conn, lineage.order if served is None else served)
        rows = await fetch(
            conn,
            "tasks.candidates",
            Candidate,
            org_id=org.id,
            runtimes=list(claimant.runtimes),
            served=None if served is None else [job.id for job in served],
            closed=[job for job, count in free_slots.items() if count < 1],
            limit=limit,
        )
        chosen = list(_within_caps(rows, free_slots))
        if not chosen or await org.lineage(conn) is not lineage:
            # A concurrent deploy has moved the tasks to new job rows; the next claim takes them.
            return []
        try:
            return await _lease(conn, lineage, claimant, chosen)
        except Exception as error:
            if not is_due_to_data(error):
                raise
            ids = [row.id for row in chosen]
            raise _NotLeasable(ids, reason_of(error)) from error


async def _free_slots(conn: Connection, jobs: Iterable[Job]) -> dict[UUID, int]:
    """Return the free slots of each capped job; 0 while a concurrent claimer is counting them."""
    caps = {job.id: job.max_concurrency for job in jobs if job.max_concurrency is not None}
    if not caps:
        return {}
    ours = {row.job_id for row in await fetch(conn, "tasks.try_caps", CappedJob, jobs=list(caps))}
    rows = await fetch(conn, "tasks.running", RunningCount, jobs=list(caps))
    running = {row.job_id: row.running for row in rows}
    return {job: cap - running.get(job, 0) if job in ours else 0 for job, cap in caps.items()}


def _within_caps(rows: Sequence[Candidate], free_slots: dict[UUID, int]) -> Iterator[Candidate]:
    for row in rows:
        count = free_slots.get(row.job_id)
        if count is None:
            yield row
        elif count > 0:
            free_slots[row.job_id] = count - 1
            yield row


async def _lease(
    conn: Connection, lineage: Lineage, claimant: Claimant, rows: Sequence[Candidate]
) -> list[Lease]:
    jobs = {job_id: lineage.job(job_id) for job_id in {row.job_id for row in rows}}
    needs = [(jobs[row.job_id], row.partitions) for row in rows]
    versions = await input_versions(conn, lineage, needs)
    leased = await fetch(
        conn,
        "tasks.lease",
        LeasedTask,
        worker_id=claimant.worker_id,
        ids=[row.id for row in rows],
        lease_seconds=[job.heartbeat_timeout_seconds or claimant.lease_seconds for job, _ in needs],
        input_versions=[Jsonb(read) for read in versions],
    )
    by_id = {row.id: row for row in leased}
    terms = {job.id: Terms.of(lineage, job) for job in jobs.values()}
    cursors = await _cursors(conn, terms.values())
    return [
        _as_lease(terms[row.job_id], cursors[row.job_id], claimant, row, by_id[row.id], read)
        for row, read in zip(rows, versions, strict=True)
    ]


async def _cursors(conn: Connection, terms: Collection[Terms]) -> dict[UUID, dict[UUID, str]]:
    """Return the stored cursors of the current inputs read incrementally, by job and dataset."""
    cursors: dict[UUID, dict[UUID, str]] = {each.job.id: {} for each in terms}
    incremental = [each.job.id for each in terms if each.job.is_per_update]
    if not incremental:
        return cursors
    current = {
        (each.job.id, dataset.id, dataset.version)
        for each in terms
        for dataset in each.inputs.values()
    }
    for row in await fetch(conn, "cursors.of_jobs", JobCursor, jobs=incremental):
        if (row.job_id, row.dataset_uuid, row.dataset_version) in current:
            cursors[row.job_id][row.dataset_uuid] = row.cursor_value
    return cursors


def _as_lease(
    terms: Terms,
    cursors: Mapping[UUID, str],
    claimant: Claimant,
    task: Candidate,
    leased: LeasedTask,
    read: InputVersions,
) -> Lease:
    return Lease(
        task_id=task.id,
        token=leased.lease_token,
        job=terms.job,
        block_key=task.block_key,
        partitions=tuple(task.partitions),
        attempt=leased.attempts,
        expires_at=leased.lease_expires_at,
        waited_seconds=leased.waited_seconds,
        worker_id=claimant.worker_id,
        inputs=terms.inputs,
        outputs=terms.outputs,
        sources=terms.sources,
        input_versions=read,
        cursors=cursors,
        row_filters=_row_filters(cursors, task),
    )


def _row_filters(cursors: Mapping[UUID, str], task: Candidate) -> tuple[StoredFilter, ...]:
    """Return the rows to read: all rows without a cursor, because no run has read any."""
    if task.row_filters and not cursors and NEW_ROWS not in task.row_filters:
        return (None,)
    return tuple(task.row_filters)
