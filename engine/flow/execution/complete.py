"""Complete runs: record outputs, inputs and cursors, and resolve the dependents.

Completion takes one transaction and requires the current lease token.
"""

from collections.abc import Iterator, Mapping, Sequence
from typing import Any
from uuid import UUID

from psycopg.types.json import Jsonb

from engine.errors import LeaseLost
from engine.flow.execution.contents import LateChange, PartitionChange, write_contents
from engine.flow.execution.cursors import move_cursors
from engine.flow.execution.cutoff import Changes
from engine.flow.execution.dependents import resolve_dependents, unblock_manual_first_runs
from engine.flow.execution.late_changes import stale_for_readers
from engine.flow.execution.outputs import reports, summaries, unplanned_outputs
from engine.flow.shared.chains import following
from engine.flow.shared.invalidations import NewInvalidation, insert_own, own_invalidation
from engine.flow.shared.org_context import OrgContext
from engine.lineage.columns import ALL_COLUMNS, PRUNED, DirtyColumns, stored_columns
from engine.lineage.graph import Lineage
from engine.model.invalidation import OwnReason
from engine.model.task import MAX_LOG_BYTES, Completion, Lease
from engine.model.text import bounded_tail
from engine.planner import parse_propagated
from engine.store.database import Connection
from engine.store.rows.tasks import LeasedPropagation
from engine.store.run import execute, fetch


async def complete(conn: Connection, org: OrgContext, completion: Completion) -> None:
    """Record one successful run. Raises LeaseLost and writes nothing if the lease has been lost."""
    completed = await complete_all(conn, org, [completion])
    if not completed:
        lease = completion.lease
        raise LeaseLost(
            f"task {lease.task_id} is no longer leased by {lease.worker_id!r}: the lease expired, "
            "or the task was canceled; discard the result"
        )


async def complete_all(
    conn: Connection, org: OrgContext, completions: Sequence[Completion]
) -> set[UUID]:
    """Record several runs in one transaction; return the completed tasks."""
    async with conn.transaction():
        leased = await _lock_leased(conn, completions)
        # Of two attempts at one task, only the attempt with the current token counts, and once.
        valid = {
            completion.lease.task_id: completion
            for completion in completions
            if (row := leased.get(completion.lease.task_id))
            and row.lease_token == completion.lease.token
        }
        if valid:
            await _record(conn, org, list(valid.values()), leased)
    return set(leased)


async def _lock_leased(
    conn: Connection, completions: Sequence[Completion]
) -> dict[UUID, LeasedPropagation]:
    """Lock and return the tasks still leased under one of the given tokens."""
    rows = await fetch(
        conn,
        "tasks.lock_leased",
        LeasedPropagation,
        ids=[completion.lease.task_id for completion in completions],
        tokens=[completion.lease.token for completion in completions],
    )
    return {row.id: row for row in rows}


async def _record(
    conn: Connection,
    org: OrgContext,
    completions: Sequence[Completion],
    leased: Mapping[UUID, LeasedPropagation],
) -> None:
    ids = [completion.lease.task_id for completion in completions]
    lineage = await org.lineage(conn)
    written = [report for completion in completions for report in reports(lineage, completion)]
    propagated = {id_: parse_propagated(row.propagated) for id_, row in leased.items()}
    changed, late = await write_contents(conn, org, lineage, written, propagated)
    changes = Changes.of(lineage, completions, written, changed)
    has_changed = changes.tasks()
    await execute(
        conn,
        "tasks.succeed",
        ids=ids,
        outputs=[Jsonb(summaries(completion)) for completion in completions],
        has_changed=[task in has_changed for task in ids],
        logs=[bounded_tail(completion.log, MAX_LOG_BYTES) for completion in completions],
    )
    await execute(conn, "tasks.record_inputs", org_id=org.id, **_inputs(completions))
    invalidations: list[NewInvalidation] = []
    for completion in completions:
        if completion.lease.job.is_single_run:
            await move_cursors(conn, completion)
            await _record_single_run(conn, org, completion.lease)
            invalidations += _unplanned(completion)
    reached = await stale_for_readers(conn, lineage, late)
    if lineage.has_chains:
        invalidations += await _following(conn, lineage, completions, changed)
    await insert_own(conn, org, [*invalidations, *_unpropagated(changed), *map(_late, reached)])
    await resolve_dependents(conn, org, lineage, ids, changes)
    datasets = {report.dataset_uuid for report in written}
    await unblock_manual_first_runs(conn, org, lineage, datasets)


async def _record_single_run(conn: Connection, org: OrgContext, lease: Lease) -> None:
    """Record a single-run job's run for the outputs as a whole: it may have found no partitions."""
    await execute(
        conn,
        "stale.record_single_run",
        org_id=org.id,
        datasets=[output.id for output in lease.outputs],
        versions=[output.version for output in lease.outputs],
        task=lease.task_id,
        config_hash=lease.job.config_hash,
        has_read_all_rows=lease.has_read_all_rows,
        has_read_new_rows=lease.has_read_new_rows,
    )


def _inputs(completions: Sequence[Completion]) -> dict[str, list[Any]]:
    """Return the content versions of all inputs, as the columns of one table."""
    rows = [
        (completion.lease.task_id, UUID(dataset), key, version)
        for completion in completions
        for dataset, versions in completion.lease.input_versions.items()
        for key, version in versions.items()
    ]
    columns = zip(*rows, strict=True) if rows else ((),) * 4
    return dict(zip(("tasks", "datasets", "keys", "versions"), map(list, columns), strict=True))


def _unplanned(completion: Completion) -> Iterator[NewInvalidation]:
    """Yield invalidations of reported partitions not included in any plan."""
    datasets = {dataset.name: dataset for dataset in completion.lease.outputs}
    for output in unplanned_outputs(completion):
        dataset = datasets[output.dataset]
        yield _found(
            completion.lease.task_id, dataset.id, dataset.version, output.partition, ALL_COLUMNS
        )


def _unpropagated(changes: Sequence[PartitionChange]) -> Iterator[NewInvalidation]:
    """Yield invalidations of changes outside the scopes propagated by plans."""
    for change in changes:
        if change.unpropagated is not PRUNED:
            report = change.report
            yield _found(
                report.task_id,
                report.dataset_uuid,
                report.dataset_version,
                report.partition_key,
                change.unpropagated,
            )


async def _following(
    conn: Connection,
    lineage: Lineage,
    completions: Sequence[Completion],
    changes: Sequence[PartitionChange],
) -> list[NewInvalidation]:
    """Return invalidations of the partitions that jobs build from changed ones of their own."""
    jobs = {completion.lease.task_id: completion.lease.job.id for completion in completions}
    invalidations: list[NewInvalidation] = []
    for change in changes:
        task, key = change.report.task_id, change.report.partition_key
        invalidations += await following(
            conn, lineage, jobs[task], key, change.columns, f"task/{task}"
        )
    return invalidations


def _late(change: LateChange) -> NewInvalidation:
    """Return the invalidation of an earlier change, for readers that have not run since."""
    report = change.report
    where = report.dataset_uuid, report.dataset_version, report.partition_key
    return _found(report.task_id, *where, change.columns)


def _found(
    task: UUID, dataset: UUID, version: UUID, partition: str, columns: DirtyColumns
) -> NewInvalidation:
    return own_invalidation(
        dataset,
        version,
        [partition],
        reason=OwnReason.FOUND,
        source=f"task/{task}",
        columns=stored_columns(columns),
    )
