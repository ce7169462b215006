"""Audit: find stale partitions without pending work.

Events, plans and tasks push changes downstream. The audit pulls: it scans all partitions in slices
and compares the evidence of staleness with pending work. A stale partition is in hand if open work
covers it, left if a recorded decision leaves it stale, and lost otherwise. Only lost partitions are
faults. A blocked task that waits for nothing is also a fault, because it would never run.
"""

from __future__ import annotations

from collections.abc import AsyncIterator, Collection, Iterator, Sequence
from dataclasses import dataclass

import msgspec
import structlog
from psycopg.types.json import Jsonb

from engine.errors import InvalidInput
from engine.flow.execution.dependents import unblock_all
from engine.flow.planning.pending_work import (
    PendingWork,
    Verdict,
    invalidation_verdict,
    load_pending_work,
    open_scopes,
)
from engine.flow.shared.appearances import load_audited_until
from engine.flow.shared.invalidations import insert_own, own_invalidation
from engine.flow.shared.load_partitions import load_existing, load_expected
from engine.flow.shared.org_context import OrgContext
from engine.flow.shared.pauses import load_pauses
from engine.flow.shared.stale import Stale, StaleReason, StaleRule, judged_keys, stale_partitions
from engine.lineage.graph import Lineage
from engine.model.job import Job
from engine.model.states import Reason
from engine.planner.first_runs import SINGLE_RUN_KEY
from engine.store.database import Connection
from engine.store.rows.stale import StalledTask
from engine.store.run import execute, fetch

_log = structlog.get_logger(__name__)
_MOST_REPORTED = 100
SLICE = 1_000
"""Partitions checked in one transaction."""


@dataclass(frozen=True, slots=True)
class StalePartition:
    """A stale partition; ``explained_by`` names the pending work or the decision to leave it stale.

    An open invalidation counts as one partition regardless of its scope; ``*`` stands for the
    whole dataset.
    """

    dag: str
    job: str
    dataset: str
    partition: str
    verdict: Verdict
    explained_by: str | None
    reasons: tuple[StaleReason, ...]


@dataclass(frozen=True, slots=True)
class Slice:
    """Result of one slice: the number of partitions checked, and the stale ones."""

    partitions: int
    stale: tuple[StalePartition, ...]

    @property
    def lost(self) -> list[StalePartition]:
        """Return the stale partitions without pending work or decision."""
        return [partition for partition in self.stale if partition.verdict == Verdict.LOST]


async def audit(
    conn: Connection,
    org: OrgContext,
    dataset: str | None = None,
    *,
    mend: bool = False,
    hidden: Collection[str] = (),
) -> AsyncIterator[Slice]:
    """Audit an org or one dataset in slices, each from a consistent snapshot.

    With ``mend``, lost partitions are invalidated in the transaction of their slice and planned
    like any other; stalled tasks are unblocked or skipped. A job with partitions that cannot be
    determined does not stop the audit of others. Jobs with ``hidden`` full names are left out.
    Raises UnknownName.
    """
    lineage = await org.lineage(conn)
    jobs = (
        lineage.order if dataset is None else [lineage.producer(lineage.dataset_named(dataset).id)]
    )
    jobs = [job for job in jobs if job.full_name not in hidden]
    yield await _invalidated(conn, org, lineage, jobs)
    yield await _stalled(conn, org, jobs, mend)
    for job in [job for job in jobs if not job.is_source]:
        try:
            async for result in _of_job(conn, org, job, mend):
                yield result
        except InvalidInput as error:
            if dataset is not None:
                raise
            _log.error("job not audited", job=job.full_name, why=str(error))


async def _of_job(conn: Connection, org: OrgContext, job: Job, mend: bool) -> AsyncIterator[Slice]:
    keys = await _keys(conn, org, job)
    for start in range(0, len(keys), SLICE):
        async with conn.transaction():
            await conn.execute("SET TRANSACTION ISOLATION LEVEL REPEATABLE READ")
            result = await _audit_slice(conn, org, job, keys[start : start + SLICE], mend)
        if result is None:
            break
        yield result


async def _invalidated(
    conn: Connection, org: OrgContext, lineage: Lineage, jobs: Sequence[Job]
) -> Slice:
    """Return the scopes of open invalidations; no other evidence exists until they are planned."""
    producers = {output: job for job in jobs for output in job.outputs}
    stale, pauses = [], await load_pauses(conn, org)
    for row in await open_scopes(conn, org, lineage, producers):
        job, name = producers[row.dataset_uuid], lineage.dataset(row.dataset_uuid).name
        pause = pauses.of_dataset(name)
        verdict, explained_by = invalidation_verdict(row.planning_error, "of it", pause)
        key = row.partition_key or SINGLE_RUN_KEY
        reasons = (StaleReason(StaleRule.INVALIDATED),)
        stale.append(
            StalePartition(job.dag_name, job.name, name, key, verdict, explained_by, reasons)
        )
    return Slice(0, tuple(stale))


async def _stalled(conn: Connection, org: OrgContext, jobs: Sequence[Job], mend: bool) -> Slice:
    """Return the partitions of blocked tasks without anything left to unblock them."""
    stalled = []
    async with conn.transaction():
        lineage = await org.lineage(conn)
        ids = [job.id for job in jobs if lineage.find_job(job.id) is not None]
        rows = await fetch(conn, "stale.stalled_tasks", StalledTask, org_id=org.id, jobs=ids)
        for row in rows:
            job = lineage.job(row.job_id)
            name, explained_by = lineage.dataset(job.outputs[0]).name, f"task {row.id} is blocked"
            reasons = (StaleReason(StaleRule.STALLED),)
            stalled += [
                StalePartition(
                    job.dag_name, job.name, name, key, Verdict.LOST, explained_by, reasons
                )
                for key in judged_keys(job, row.partitions)
            ]
        if mend and rows:
            await unblock_all(conn, org, [row.id for row in rows])
    return Slice(0, tuple(stalled))


async def _audit_slice(
    conn: Connection, org: OrgContext, job: Job, keys: Sequence[str], mend: bool
) -> Slice | None:
    """Check some partitions of a job; return None if a deploy has removed the job."""
    lineage = await org.lineage(conn)
    if lineage.find_job(job.id) is None:
        return None
    stale = await stale_partitions(conn, lineage, [(job, keys)])
    partitions: tuple[StalePartition, ...] = ()
    if stale:
        pending = await load_pending_work(conn, org, lineage, job, [key for _, key in stale])
        partitions = tuple(_judged(lineage, job, keys, stale, pending))
    result = Slice(len(keys), partitions)
    if mend and result.lost:
        await _invalidate(conn, org, lineage, job, result.lost)
    return result


async def _keys(conn: Connection, org: OrgContext, job: Job) -> Sequence[str]:
    """Return the keys of existing partitions and of those expected from the inputs.

    The keys are listed once per job, because a listing per slice takes time quadratic in their
    number. Partitions created in the meantime are left to the next audit.
    """
    async with conn.transaction():
        lineage = await org.lineage(conn)
        if lineage.find_job(job.id) is None:
            return []
        if job.is_single_run:
            return [SINGLE_RUN_KEY]
        existing = await load_existing(conn, lineage, job.outputs[0])
        now = await load_audited_until(conn, org)
        expected = await load_expected(conn, lineage, job, now)
    return list(lineage.job_space(job).keys(existing | expected))


def _judged(
    lineage: Lineage, job: Job, keys: Sequence[str], stale: Stale, pending: PendingWork
) -> Iterator[StalePartition]:
    dataset = lineage.dataset(job.outputs[0]).name
    order = {key: index for index, key in enumerate(keys)}
    for (_, key), reasons in sorted(stale.items(), key=lambda item: order[item[0][1]]):
        verdict, explained_by = pending.of(key)
        yield StalePartition(
            job.dag_name, job.name, dataset, key, verdict, explained_by, tuple(reasons)
        )


async def _invalidate(
    conn: Connection, org: OrgContext, lineage: Lineage, job: Job, lost: Sequence[StalePartition]
) -> None:
    dataset, space = lineage.dataset(job.outputs[0]), lineage.job_space(job)
    keys = [stale.partition for stale in lost]
    texts = [None] if job.is_single_run else space.texts(space.from_keys(keys))
    invalidation = own_invalidation(
        dataset.id,
        dataset.version,
        texts,
        reason=Reason.CORRECTION,
        source="audit",
        note=f"lost: {lost[0].reasons[0].rule}",
    )
    async with conn.transaction():
        await insert_own(conn, org, [invalidation])
        detail = {"dataset": dataset.name, "partitions": keys[:_MOST_REPORTED], "count": len(keys)}
        await execute(
            conn, "events.report_lost", org_id=org.id, dataset=dataset.id, detail=Jsonb(detail)
        )


class Counts(msgspec.Struct):
    """Totals of an audit, with a sample of lost partitions, followed by those left by decision."""

    partitions: int = 0
    in_hand: int = 0
    left: int = 0
    lost: int = 0
    shown: list[StalePartition] = []

    def add(self, result: Slice, most: int) -> None:
        """Add a slice, keeping at most ``most`` partitions in ``shown``."""
        self.partitions += result.partitions
        for partition in result.stale:
            self.in_hand += partition.verdict == Verdict.IN_HAND
            self.left += partition.verdict == Verdict.LEFT
            self.lost += partition.verdict == Verdict.LOST
        named = [partition for partition in result.stale if partition.verdict != Verdict.IN_HAND]
        # Lost partitions are faults and must not be crowded out by those left by decision.
        self.shown = sorted(
            [*self.shown, *named], key=lambda partition: partition.verdict != Verdict.LOST
        )[:most]


async def audit_all(
    conn: Connection,
    org: OrgContext,
    dataset: str | None = None,
    *,
    mend: bool = False,
    most: int = 100,
    hidden: Collection[str] = (),
) -> Counts:
    """Run the whole audit and return its totals, with at most ``most`` stale partitions listed.

    See `audit` for ``hidden``.
    """
    counts = Counts()
    async for result in audit(conn, org, dataset, mend=mend, hidden=hidden):
        counts.add(result, most)
    return counts
