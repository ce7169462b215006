"""Explain the stale partitions of a job by pending work, or by a decision to leave them."""

from __future__ import annotations

from collections.abc import Collection, Mapping, Sequence
from dataclasses import dataclass
from enum import StrEnum
from uuid import UUID

from engine.errors import InvalidPartition
from engine.flow.shared.org_context import OrgContext
from engine.flow.shared.pauses import Pauses, load_pauses
from engine.flow.shared.stale import judged_keys
from engine.lineage.graph import Edge, Lineage
from engine.model.invalidation import ABOUT_READERS, OwnReason
from engine.model.job import Job
from engine.model.states import TaskStatus
from engine.partitions import PartitionSet, PartitionSpace
from engine.planner.first_runs import SINGLE_RUN_KEY
from engine.store.database import Connection
from engine.store.rows.pauses import Pause
from engine.store.rows.stale import OpenScope, OpenTask, PendingStep, StoredDecision
from engine.store.run import fetch

_MOST_REACHING = 200
"""Limit on open invalidations of inputs with partitions computed one by one."""


class Verdict(StrEnum):
    """Verdict on a partition; the audit lists stale ones only, which are in hand, left or lost."""

    FRESH = "fresh"
    WAITING = "waiting"
    IN_HAND = "in hand"
    LEFT = "left"
    LOST = "lost"


@dataclass(frozen=True, slots=True)
class PendingWork:
    """Pending work and decisions, by partition key and for the job as a whole.

    ``by_inputs`` has the partitions that open invalidations reach through an input.
    """

    of_job: tuple[Verdict, str] | None
    of_keys: Mapping[str, tuple[Verdict, str]]
    by_inputs: Sequence[tuple[PartitionSet, tuple[Verdict, str]]]
    space: PartitionSpace

    def of(self, key: str) -> tuple[Verdict, str | None]:
        """Return the verdict on a stale partition, with the reason."""
        if key in self.of_keys:
            return self.of_keys[key]
        partition = self.space.universe if key == SINGLE_RUN_KEY else self.space.parse(key)
        verdicts = (verdict for reached, verdict in self.by_inputs if reached & partition)
        return next(verdicts, self.of_job or (Verdict.LOST, None))


async def load_pending_work(
    conn: Connection, org: OrgContext, lineage: Lineage, job: Job, keys: Sequence[str]
) -> PendingWork:
    """Load the pending work for partition keys of a job, ``*`` for a single-run job."""
    of_keys: dict[str, tuple[Verdict, str]] = {}
    for decision in await _decisions(conn, lineage, job, keys):
        by = f" by {decision.decided_by}" if decision.decided_by else ""
        at = f"{decision.decided_at:%Y-%m-%d %H:%M:%S %Z}"
        of_keys[decision.partition_key] = Verdict.LEFT, f"{decision.decision}{by} at {at}"
    for key, plan in (await _pending(conn, org, lineage, job, keys)).items():
        of_keys[key] = approval_verdict(plan)
    concerned = {*job.outputs, *(edge.dataset for edge in lineage.inputs(job.id))}
    rows = await open_scopes(conn, org, lineage, concerned)
    pauses = await load_pauses(conn, org)
    of_keys |= _invalidated(lineage, job, keys, rows, pauses)
    for key, task in (await _tasks(conn, job, keys)).items():
        of_keys[key] = task_verdict(task.id, task.status, pauses.of_job(job.dag_name, job.name))
    is_manual = job.is_manual
    of_job: tuple[Verdict, str] | None = (
        (Verdict.LEFT, "the job is manual and runs on request only") if is_manual else None
    )
    by_inputs = [] if is_manual else _by_inputs(lineage, job, rows, pauses)
    return PendingWork(of_job, of_keys, by_inputs, lineage.job_space(job))


async def open_scopes(
    conn: Connection, org: OrgContext, lineage: Lineage, datasets: Collection[UUID]
) -> list[OpenScope]:
    """Fetch the scopes of unplanned and set-aside invalidations of datasets."""
    return await fetch(
        conn,
        "stale.open_invalidations",
        OpenScope,
        org_id=org.id,
        datasets=list(datasets),
        versions=[lineage.dataset(dataset).version for dataset in datasets],
    )


def _by_inputs(
    lineage: Lineage, job: Job, open_rows: Sequence[OpenScope], pauses: Pauses
) -> list[tuple[PartitionSet, tuple[Verdict, str]]]:
    """Return the partitions reached by open invalidations of the inputs, plannable ones first.

    An invalidation that was set aside explains a stale partition only if a run made the change:
    other changes get their versions during planning. A backlog counts as reaching all partitions
    until it is planned, because so many sets cost more than they are worth.
    """
    reaching = [
        (edge, row)
        for edge in lineage.inputs(job.id)
        for row in open_rows
        if row.dataset_uuid == edge.dataset
    ]
    unplanned = [reach for reach in reaching if reach[1].planning_error is None]
    set_aside = [
        (edge, row)
        for edge, row in reaching
        if row.planning_error and row.reason == OwnReason.FOUND
    ]
    paused = {edge: pauses.of_dataset(edge.input.name) for edge in lineage.inputs(job.id)}
    if len(unplanned) > _MOST_REACHING:
        pause = paused[unplanned[0][0]] if all(paused[edge] for edge, _ in unplanned) else None
        verdict = invalidation_verdict(None, "of an input", pause)
        return [(lineage.job_space(job).universe, verdict)]
    unplanned.sort(key=lambda reach: paused[reach[0]] is not None)
    return [
        (
            _down(lineage, edge, row),
            invalidation_verdict(row.planning_error, "of an input", paused[edge]),
        )
        for edge, row in (*unplanned, *set_aside[:_MOST_REACHING])
    ]


def _down(lineage: Lineage, edge: Edge, row: OpenScope) -> PartitionSet:
    """Return the partitions of the edge's job reached by an invalidation of the input."""
    everything = lineage.job_space(lineage.job(edge.job)).universe
    if row.partition_key is None or edge.mapping.takes_last:
        return everything
    try:
        return edge.mapping.down(lineage.space(edge.dataset).parse(row.partition_key))
    except InvalidPartition:
        return everything  # the key of another dataset version, until planned


def _invalidated(
    lineage: Lineage,
    job: Job,
    keys: Sequence[str],
    open_rows: Sequence[OpenScope],
    pauses: Pauses,
) -> dict[str, tuple[Verdict, str]]:
    """Return the partition keys covered by open invalidations of the job's own outputs."""
    own = [
        (row, pauses.of_dataset(lineage.dataset(row.dataset_uuid).name))
        for row in open_rows
        if row.dataset_uuid in job.outputs and row.reason not in ABOUT_READERS
    ]
    verdicts: dict[str, tuple[Verdict, str]] = {}
    for key in keys if own else ():
        is_all = key == SINGLE_RUN_KEY
        of_key = [(row, pause) for row, pause in own if is_all or _covers(lineage, job, row, key)]
        covering = [(row.planning_error, pause) for row, pause in of_key]
        if covering:
            verdicts[key] = verdict_of_covering(covering)
            after = [row.after_partition for row, _ in of_key]
            if None not in after and verdicts[key][0] == Verdict.IN_HAND:
                verdicts[key] = Verdict.IN_HAND, f"it waits for {after[0]} of the same job"
    return verdicts


def _covers(lineage: Lineage, job: Job, row: OpenScope, key: str) -> bool:
    space = lineage.job_space(job)
    if row.partition_key is None:
        return True
    try:
        return space.parse(row.partition_key).covers(space.parse(key))
    except InvalidPartition:
        return row.planning_error is None


def verdict_of_covering(covering: Sequence[tuple[str | None, Pause | None]]) -> tuple[Verdict, str]:
    """Return the verdict for covering open invalidations, given by planning errors and pauses.

    Those about to be planned take priority over paused ones, and these over those set aside.
    """
    error, pause = min(covering, key=lambda row: (row[0] is not None, row[1] is not None))
    return invalidation_verdict(error, "of it", pause)


def invalidation_verdict(
    planning_error: str | None, of: str, pause: Pause | None
) -> tuple[Verdict, str]:
    """Return the verdict on partitions concerned by an open invalidation."""
    if planning_error is not None:
        return Verdict.LEFT, f"an invalidation {of} cannot be planned: {planning_error}"
    if pause is not None:
        return Verdict.LEFT, f"an invalidation {of} is not planned yet; {pause}"
    return Verdict.IN_HAND, f"an invalidation {of} is not planned yet"


def approval_verdict(plan: UUID) -> tuple[Verdict, str]:
    """Return the verdict on the partitions of a plan pending approval."""
    return Verdict.LEFT, f"plan {plan} is pending approval"


def task_verdict(id_: UUID, status: TaskStatus, pause: Pause | None) -> tuple[Verdict, str]:
    """Return the verdict on the partitions of an unfinished task, with a pause of its job."""
    if status == TaskStatus.QUEUED and pause is not None:
        return Verdict.LEFT, f"task {id_} is queued; {pause}"
    is_left = status == TaskStatus.FAILED
    return Verdict.LEFT if is_left else Verdict.IN_HAND, f"task {id_} is {status}"


async def _tasks(conn: Connection, job: Job, keys: Sequence[str]) -> Mapping[str, OpenTask]:
    """Fetch unfinished tasks by the keys to be built; runnable tasks take priority."""
    tasks: dict[str, OpenTask] = {}
    wanted = None if job.is_single_run else list(keys)
    for row in await fetch(conn, "stale.open_tasks", OpenTask, job=job.id, keys=wanted):
        for key in judged_keys(job, row.partitions):
            if key not in tasks or tasks[key].status == TaskStatus.FAILED:
                tasks[key] = row
    return tasks


async def _decisions(
    conn: Connection, lineage: Lineage, job: Job, keys: Sequence[str]
) -> list[StoredDecision]:
    dataset = lineage.dataset(job.outputs[0])
    return await fetch(
        conn,
        "stale.decisions",
        StoredDecision,
        dataset=dataset.id,
        version=dataset.version,
        keys=list(keys),
    )


async def _pending(
    conn: Connection, org: OrgContext, lineage: Lineage, job: Job, keys: Sequence[str]
) -> Mapping[str, UUID]:
    """Fetch plans pending approval by the keys to be recomputed."""
    rows = await fetch(
        conn,
        "stale.pending_steps",
        PendingStep,
        org_id=org.id,
        job=job.name,
        dag=job.dag_name,
        version=lineage.dataset(job.outputs[0]).version,
    )
    space = lineage.job_space(job)
    plans: dict[str, UUID] = {}
    for row in rows:
        step = space.from_alike(row.partitions)
        for key in keys:
            if job.is_single_run or step.covers(space.parse(key)):
                plans[key] = row.plan_id
    return plans
