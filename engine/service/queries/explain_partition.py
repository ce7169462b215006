"""State of a partition: reasons for being stale, and upstream changes without effect."""

from collections.abc import Collection, Iterator, Mapping, Sequence
from datetime import datetime
from uuid import UUID

import msgspec

from engine.errors import InvalidPartition
from engine.flow.planning.pending_work import (
    Verdict,
    approval_verdict,
    load_pending_work,
    task_verdict,
    verdict_of_covering,
)
from engine.flow.shared.appearances import load_audited_until
from engine.flow.shared.load_partitions import load_expected
from engine.flow.shared.org_context import OrgContext
from engine.flow.shared.pauses import load_pauses
from engine.flow.shared.stale import StaleReason, StaleRule, stale_partitions
from engine.lineage.graph import Lineage
from engine.model.dataset import Dataset
from engine.model.job import Job
from engine.model.states import PlanState, Role, TaskStatus
from engine.partitions import PartitionSet, PartitionSpace
from engine.planner.first_runs import SINGLE_RUN_KEY
from engine.service.caller import Caller, requires
from engine.service.names import dataset_named, one_key
from engine.service.queries.not_run import PlanNotRun, not_run
from engine.service.queries.pruned_changes import PrunedChange, pruned_changes
from engine.service.service import Service
from engine.store.database import Connection
from engine.store.rows.invalidations import CoveringInvalidation
from engine.store.rows.partitions import BuiltPartition
from engine.store.rows.pauses import Pause
from engine.store.run import fetch, fetch_one

_MAX_LISTED = 4


class NewerInput(msgspec.Struct, frozen=True):
    """An input partition with relevant changes since the last run of the partition."""

    dataset: str
    partition: str
    read: datetime | None
    now: datetime | None


class UnfinishedTask(msgspec.Struct, frozen=True):
    """An unfinished task for the partition."""

    id: UUID
    job: str
    block_key: str
    status: TaskStatus
    outcome: str | None
    error_message: str | None
    waiting_for: Mapping[str, Sequence[str]] | None


class ExplainedPartition(msgspec.Struct, frozen=True):
    """State of a partition; ``stale`` has the reasons, and is empty for a fresh partition.

    ``verdict`` is the verdict of the audit, with pending work or the decision as the reason. A
    partition is waiting if never built and not due for the first run. ``materialized_at`` is the
    content version, not changed by runs with unchanged content; null if never built. ``task_id`` is
    the task of the last run, ``completed_at`` its end, and ``is_unchanged`` True if that run has
    produced the content of an earlier one.
    """

    dataset: str
    partition: str
    job: str
    is_source: bool
    materialized_at: datetime | None
    row_count: int | None
    task_id: UUID | None
    completed_at: datetime | None
    is_unchanged: bool
    verdict: Verdict
    explained_by: str | None
    stale: tuple[str, ...]
    newer_inputs: tuple[NewerInput, ...]
    unfinished: tuple[UnfinishedTask, ...]
    open_invalidations: tuple[UUID, ...]
    not_run: tuple[PlanNotRun, ...]
    pruned_changes: tuple[PrunedChange, ...]

    @property
    def awaits_approval(self) -> bool:
        """True if the reason of the verdict is a plan pending approval."""
        verdict = self.verdict, self.explained_by
        return any(verdict == approval_verdict(plan.id) for plan in self.not_run)

    @property
    def has_failed(self) -> bool:
        """True if the reason of the verdict is a failed task."""
        failed = (task for task in self.unfinished if task.status == TaskStatus.FAILED)
        verdict = self.verdict, self.explained_by
        return any(verdict == task_verdict(task.id, task.status, None) for task in failed)


@requires(Role.READER)
async def explain_partition(
    caller: Caller, service: Service, dataset: str, partition: str
) -> ExplainedPartition:
    """Explain the state of one partition. Raises UnknownName, InvalidPartition."""
    async with service.snapshot(caller) as (conn, org):
        visible = await service.visibility(caller, conn, org)
        dataset_named(await org.lineage(conn), dataset, visible)
        return await _explain(conn, org, dataset, partition)


async def _explain(
    conn: Connection, org: OrgContext, dataset: str, partition: str
) -> ExplainedPartition:
    lineage = await org.lineage(conn)
    row = dataset_named(lineage, dataset)
    key = one_key(lineage.space(row.id), partition, dataset)
    job = lineage.producer(row.id)
    built = await fetch_one(
        conn, "partitions.built", BuiltPartition, dataset=row.id, version=row.version, key=key
    )
    reasons = await _stale(conn, org, lineage, job, key)
    newer = _newer_inputs(reasons)
    unfinished = await fetch(
        conn, "views.unfinished_over", UnfinishedTask, job_id=job.id, partition=key
    )
    covering = await _open_over(conn, org, lineage, row, key)
    task_id = None if built is None else built.task_id
    unrun = await not_run(conn, org, lineage, job, key, task_id)
    pauses = await load_pauses(conn, org)
    pause = pauses.of_dataset(dataset)
    open_over = [(row.planning_error, pause) for row in covering]
    unlisted = (
        None
        if reasons
        else _unlisted_verdict(
            built, open_over, unfinished, pauses.of_job(job.dag_name, job.name), unrun
        )
    )
    verdict, explained_by = unlisted or await _verdict(conn, org, lineage, job, key, reasons)
    return ExplainedPartition(
        dataset=dataset,
        partition=key,
        job=job.name,
        is_source=job.is_source,
        materialized_at=None if built is None else built.materialized_at,
        row_count=None if built is None else built.row_count,
        task_id=task_id,
        completed_at=None if built is None else built.completed_at,
        is_unchanged=built is not None and built.is_unchanged,
        verdict=verdict,
        explained_by=explained_by,
        stale=tuple(_reasons(job, built, reasons, newer, unfinished, covering, unrun)),
        newer_inputs=tuple(newer),
        unfinished=tuple(unfinished),
        open_invalidations=tuple(row.id for row in covering),
        not_run=tuple(unrun),
        pruned_changes=tuple(await pruned_changes(conn, org, lineage, job, key)),
    )


def _newer_inputs(reasons: Sequence[StaleReason]) -> list[NewerInput]:
    """Return the inputs of the partition changed, created or removed since the last run."""
    return [
        NewerInput(reason.dataset, reason.partition or "*", reason.recorded, reason.version)
        for reason in reasons
        if reason.dataset is not None
    ]


async def _stale(
    conn: Connection, org: OrgContext, lineage: Lineage, job: Job, key: str
) -> Sequence[StaleReason]:
    if job.is_source:
        return ()
    stale = await stale_partitions(conn, lineage, [(job, [key])])
    reasons = stale.get((job.id, SINGLE_RUN_KEY if job.is_single_run else key), ())
    is_unbuilt = not job.is_single_run and any(
        reason.rule == StaleRule.NEVER_BUILT for reason in reasons
    )
    if is_unbuilt:
        # The audit judges an unbuilt partition only if existing inputs lead to the partition.
        now = await load_audited_until(conn, org)
        expected = await load_expected(conn, lineage, job, now)
        if not expected.covers(lineage.job_space(job).parse(key)):
            return ()
    return reasons


def _unlisted_verdict(
    built: BuiltPartition | None,
    covering: Sequence[tuple[str | None, Pause | None]],
    unfinished: Sequence[UnfinishedTask],
    pause: Pause | None,
    unrun: Sequence[PlanNotRun],
) -> tuple[Verdict, str | None] | None:
    """Return the verdict on a partition not listed by the audit, unless waiting for the first run.

    A pending change is not yet in the versions of the inputs, which the audit compares.
    """
    if covering:
        return verdict_of_covering(covering)
    if not built:
        return None
    if unfinished:
        runnable = (task for task in unfinished if task.status != TaskStatus.FAILED)
        task = next(runnable, unfinished[0])
        return task_verdict(task.id, task.status, pause)
    if unrun:
        (plan, *_) = unrun
        if plan.state == PlanState.PENDING_APPROVAL:
            return approval_verdict(plan.id)
        by = f" by {plan.by}" if plan.by else ""
        return Verdict.LEFT, f"plan {plan.id} was rejected{by}"
    return Verdict.FRESH, None


async def _verdict(
    conn: Connection,
    org: OrgContext,
    lineage: Lineage,
    job: Job,
    key: str,
    reasons: Sequence[StaleReason],
) -> tuple[Verdict, str | None]:
    """Return the verdict of the audit, or of a partition that waits for the first run."""
    subject = SINGLE_RUN_KEY if job.is_single_run else key
    verdict, explained_by = (await load_pending_work(conn, org, lineage, job, [subject])).of(
        subject
    )
    return verdict if reasons else Verdict.WAITING, explained_by


async def _open_over(
    conn: Connection, org: OrgContext, lineage: Lineage, dataset: Dataset, key: str
) -> list[CoveringInvalidation]:
    """Return the unplanned and set-aside invalidations of the partition.

    An invalidation with an impossible partition may concern any partition.
    """
    space = lineage.space(dataset.id)
    partition = space.parse(key)
    rows = await fetch(
        conn,
        "invalidations.open_over",
        CoveringInvalidation,
        org_id=org.id,
        dataset=dataset.id,
        version=dataset.version,
    )
    return [row for row in rows if _covers(space, row.partition_key, partition)]


def _covers(space: PartitionSpace, text: str | None, partition: PartitionSet) -> bool:
    try:
        return space.parse(text).covers(partition)
    except InvalidPartition:
        return True


def _own_reasons(
    job: Job, built: BuiltPartition | None, rules: Collection[StaleRule]
) -> Iterator[str]:
    if not built:
        yield "never built"
    elif StaleRule.DEFINITION in rules:
        yield f"the definition of job {job.name!r} has changed since the last build"
    if StaleRule.PARTLY_WRITTEN in rules:
        yield "an incomplete attempt may have written part of the partition"
    if StaleRule.DECLARED_WRONG in rules:
        yield "an invalidation declared the partition wrong"
    if StaleRule.ROWS_NOT_READ in rules:
        yield "changed rows were not read (task canceled or plan rejected)"
    if StaleRule.NEW_ROWS_NOT_READ in rules:
        yield "new rows were not read (task canceled or plan rejected)"


def _reasons(
    job: Job,
    built: BuiltPartition | None,
    reasons: Sequence[StaleReason],
    newer: Sequence[NewerInput],
    unfinished: Sequence[UnfinishedTask],
    covering: Sequence[CoveringInvalidation],
    unrun: Sequence[PlanNotRun],
) -> Iterator[str]:
    yield from _own_reasons(job, built, {reason.rule for reason in reasons})
    for dataset in dict.fromkeys(row.dataset for row in newer):
        keys = [row.partition for row in newer if row.dataset == dataset]
        more = f" and {len(keys) - _MAX_LISTED} more" if len(keys) > _MAX_LISTED else ""
        shown = f"{', '.join(keys[:_MAX_LISTED])}{more}"
        yield f"input {dataset} has changed since the last run: {shown}"
    if covering:
        yield "an invalidation is not planned yet"
    for plan in unrun:
        end = str(plan.id)[-8:]
        is_pending = plan.state == PlanState.PENDING_APPROVAL
        yield f"plan {end} {'is pending approval' if is_pending else 'was rejected'}"
    for task in unfinished:
        yield f"a task {'has' if task.status == TaskStatus.FAILED else 'is'} {task.status}"
