"""Record decisions to leave partitions stale.

A decision stands until the partition is built or a later plan recomputes it.
"""

from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass
from types import MappingProxyType
from uuid import UUID

from engine.flow.execution.followers import leave_unread
from engine.flow.shared.load_partitions import load_existing
from engine.flow.shared.stale import Stale, judged_keys, stale_partitions
from engine.lineage.graph import Lineage
from engine.model.job import Job
from engine.model.states import StaleDecisionKind
from engine.model.task import NEW_ROWS, StoredFilter
from engine.planner.first_runs import SINGLE_RUN_KEY
from engine.store.database import Connection
from engine.store.rows.stale import DecidedPartition
from engine.store.run import execute, fetch


@dataclass(frozen=True, slots=True)
class StaleDecision:
    """Decision not to recompute for now, with its author and the task or plan concerned."""

    kind: StaleDecisionKind
    by: str | None = None
    task: UUID | None = None
    plan: UUID | None = None


async def leave_stale(
    conn: Connection,
    lineage: Lineage,
    partitions: Mapping[UUID, Sequence[str]],
    decision: StaleDecision,
    if_stale: Mapping[UUID, Sequence[str]] = MappingProxyType({}),
) -> Stale:
    """Record a decision for partitions, given by job, and return the stale ones.

    ``if_stale`` are further partitions that would have run only if an input had changed.

    A cancellation is recorded for all partitions of the task, because awaited inputs may change
    only afterwards. A rejection is recorded for the plan's partitions that are stale or become
    stale when a first run in progress completes. A single-run job is left as a whole, and its
    unbuilt partitions as well, so that a later run is asked for them.
    """
    needs = [
        (job, [*keys, *if_stale.get(id_, ())])
        for id_, keys in partitions.items()
        if (job := lineage.find_job(id_))
    ]
    stale = await stale_partitions(conn, lineage, needs)
    is_of_all = decision.kind == StaleDecisionKind.CANCELED
    for job, keys in needs:
        subjects = {key: is_of_all or (job.id, key) in stale for key in judged_keys(job, keys)}
        if job.is_single_run:
            left = keys if any(subjects.values()) else partitions[job.id]
            subjects |= dict.fromkeys(await _unbuilt(conn, lineage, job, left), True)
        await _record(conn, lineage, job, subjects, decision)
    return stale


async def _unbuilt(conn: Connection, lineage: Lineage, job: Job, keys: Sequence[str]) -> list[str]:
    """Return the partitions that do not exist, of a job whose bounds do not list its partitions."""
    space = lineage.job_space(job)
    if space.universe.is_finite:
        return []
    existing = await load_existing(conn, lineage, job.outputs[0])
    return list(space.keys(space.from_keys(keys) - existing))


async def _record(
    conn: Connection,
    lineage: Lineage,
    job: Job,
    subjects: Mapping[str, bool],
    decision: StaleDecision,
) -> None:
    """Record the decision for ``subjects``, which maps partition keys to known staleness."""
    dataset = lineage.dataset(job.outputs[0])
    await execute(
        conn,
        "stale.record_decisions",
        dataset=dataset.id,
        version=dataset.version,
        job=job.id,
        keys=list(subjects),
        stale=list(subjects.values()),
        decision=decision.kind,
        by=decision.by,
        task=decision.task,
        plan=decision.plan,
    )


async def leave_rows_unread(
    conn: Connection,
    lineage: Lineage,
    needs: Iterable[tuple[Job, Sequence[StoredFilter]]],
    decision: StaleDecision,
) -> None:
    """Record for `PerUpdate` jobs that new rows, or old rows due for rereading, stay unread.

    Runs on new rows do not read the old ones, and runs on selected rows do not read the new ones.
    Without this record, the job's partitions would count as fresh after any such run, later or
    completed since the change.
    """
    for job, row_filters in needs:
        if job.is_per_update:
            left = await leave_unread(
                conn,
                lineage,
                job,
                old_rows=any(row_filter != NEW_ROWS for row_filter in row_filters),
                new_rows=NEW_ROWS in row_filters,
            )
            if left:
                await _record(conn, lineage, job, {SINGLE_RUN_KEY: True}, decision)


async def load_decided(
    conn: Connection, lineage: Lineage, jobs: Iterable[Job]
) -> set[tuple[UUID, str]]:
    """Return the decided partitions of jobs, each as the first output and the key."""
    datasets = [lineage.dataset(output) for output in {job.outputs[0] for job in jobs}]
    rows = await fetch(
        conn,
        "stale.decided",
        DecidedPartition,
        datasets=[dataset.id for dataset in datasets],
        versions=[dataset.version for dataset in datasets],
    )
    return {(row.dataset_uuid, row.partition_key) for row in rows}


async def delete_decisions(
    conn: Connection,
    lineage: Lineage,
    planned: Iterable[tuple[Job, Sequence[str], Sequence[StoredFilter]]],
) -> None:
    """Delete the decisions on partitions that a plan recomputes after all."""
    needs = list(planned)
    decided = await load_decided(conn, lineage, [job for job, _, _ in needs])
    if not decided:
        return
    recomputed = [
        (output, key, *_reads(job, row_filters))
        for job, keys, row_filters in needs
        for output in job.outputs[:1]
        for key in judged_keys(job, keys)
        if (output, key) in decided
    ]
    await execute(
        conn,
        "stale.delete_decisions",
        datasets=[output for output, *_ in recomputed],
        versions=[lineage.dataset(output).version for output, *_ in recomputed],
        keys=[key for _, key, *_ in recomputed],
        read_all_rows=[reads_all for *_, reads_all, _ in recomputed],
        read_new_rows=[reads_new for *_, reads_new in recomputed],
    )


def _reads(job: Job, row_filters: Sequence[StoredFilter]) -> tuple[bool, bool]:
    """Return whether a run reads all rows, and whether it reads all new rows."""
    reads_all = not job.is_per_update or None in row_filters
    return reads_all, reads_all or NEW_ROWS in row_filters
