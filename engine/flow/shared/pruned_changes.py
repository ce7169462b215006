"""Changes that an earlier lineage has pruned, and that wider lineage lets reach a job.

Lineage becomes wider by corrections: of the DAG file, of the SQL of views, or by further reports of
runs. The jobs keep their data, so the changes since their runs have to be made up for. Runs that
have read the changes may have propagated them too narrowly.
"""

from collections.abc import Collection, Iterable, Mapping, Sequence
from uuid import UUID

from engine.flow.shared.invalidations import NewInvalidation, own_invalidation
from engine.flow.shared.load_partitions import load_existing
from engine.flow.shared.stale import stale_keys, stale_partitions
from engine.lineage.columns import read_columns, stored_columns
from engine.lineage.graph import Edge, Lineage
from engine.lineage.scope import reaches_more
from engine.lineage.widening import Widening, widened_datasets
from engine.model.dataset import Dataset
from engine.model.invalidation import OwnReason
from engine.model.job import Job
from engine.model.states import Reason
from engine.planner.first_runs import SINGLE_RUN_KEY
from engine.store.database import Connection
from engine.store.rows.partitions import PartitionKey
from engine.store.run import execute, fetch


async def invalidate_pruned(
    conn: Connection, before: Lineage, now: Lineage, outputs: Iterable[UUID], source: str
) -> list[NewInvalidation]:
    """Return invalidations of partitions that are stale by the lineage of now, but not of before.

    Further readers of changes that runs have propagated are included.

    ``outputs`` are the first outputs of jobs, in dataset versions of both lineages. A manual job
    runs on request only. Unfinished tasks upstream will propagate all of their changes again,
    because their plans have pruned some.
    """
    jobs = [(before.producer(output), now.producer(output)) for output in outputs]
    widened = widened_datasets(before, now, jobs)
    invalidations = await _invalidate_widened(conn, now, widened, source)
    for earlier, job in jobs:
        edges = {edge.input.alias: edge for edge in before.inputs(earlier.id)}
        wider = [
            edge
            for edge in now.inputs(job.id)
            if edge.input.alias in edges and reaches_more(edges[edge.input.alias], edge)
        ]
        if not wider or job.is_manual:
            continue
        await execute(conn, "tasks.forget_propagated", jobs=[edge.producer.id for edge in wider])
        keys = {
            *await _newly_stale(conn, (before, earlier), (now, job)),
            *await _raised(conn, now, job, wider),
        }
        invalidations += _of_partitions(now, job, keys, source)
        for edge in wider:
            invalidations += await _read_by_first_runs(conn, now, job, edge, source)
    return invalidations


def _of_partitions(
    lineage: Lineage, job: Job, keys: Collection[str], source: str
) -> list[NewInvalidation]:
    """Return the invalidation of partitions of a job; empty without keys."""
    if not keys:
        return []
    dataset, space = lineage.dataset(job.outputs[0]), lineage.job_space(job)
    texts = [None] if job.is_single_run else space.texts(space.from_keys(keys))
    reason = Reason.DEFINITION_CHANGE
    return [own_invalidation(dataset.id, dataset.version, texts, reason=reason, source=source)]


async def _invalidate_widened(
    conn: Connection, lineage: Lineage, widened: Mapping[UUID, Widening], source: str
) -> list[NewInvalidation]:
    """Return invalidations of outputs whose earlier changes reach further columns or rows.

    The runs behind the outputs may be fresh, but their changes were propagated too narrowly. Only
    readers run that have not run since the last change.
    """
    invalidations: list[NewInvalidation] = []
    for id_, widening in widened.items():
        dataset = lineage.dataset(id_)
        columns = stored_columns(widening.columns)
        await execute(conn, "tasks.forget_propagated", jobs=[lineage.producer(id_).id])
        rows = await fetch(
            conn,
            "partitions.widen_changes",
            PartitionKey,
            dataset=id_,
            version=dataset.version,
            columns=columns,
            of_rows=widening.rows,
        )
        found_in = None if widening.rows else columns
        invalidations += _found(lineage, dataset, rows, found_in, source)
        for edge in lineage.readers(id_) if widening.rows else ():
            job = lineage.job(edge.job)
            if not job.is_manual:
                raised = await _raised(conn, lineage, job, [edge])
                invalidations += _of_partitions(lineage, job, raised, source)
    return invalidations


async def _newly_stale(
    conn: Connection, before: tuple[Lineage, Job], now: tuple[Lineage, Job]
) -> list[str]:
    """Return the keys of built partitions that are stale for reasons that did not hold before."""
    (lineage, job), (earlier_lineage, earlier) = now, before
    keys = [SINGLE_RUN_KEY]
    if not job.is_single_run:
        existing = await load_existing(conn, lineage, job.outputs[0])
        keys = list(lineage.space(job.outputs[0]).keys(existing))
    stale = await stale_partitions(conn, lineage, [(job, keys)])
    found = list(stale_keys(stale, job, keys))
    known = await stale_partitions(conn, earlier_lineage, [(earlier, found)]) if found else {}
    return [
        key for key in found if not set(stale[job.id, key]) <= set(known.get((earlier.id, key), ()))
    ]


async def _read_by_first_runs(
    conn: Connection, lineage: Lineage, job: Job, edge: Edge, source: str
) -> list[NewInvalidation]:
    """Return invalidations of inputs that have changed since first runs in progress read them.

    There is no evidence of these runs yet. When they are completed, the job runs again if stale.
    """
    read, output = lineage.dataset(edge.dataset), lineage.dataset(job.outputs[0])
    columns = stored_columns(read_columns(edge.columns))
    rows = await fetch(
        conn,
        "stale.changed_during_first_runs",
        PartitionKey,
        job=job.id,
        output=output.id,
        output_version=output.version,
        input=read.id,
        input_version=read.version,
        columns=columns,
    )
    return _found(lineage, read, rows, columns, source)


def _found(
    lineage: Lineage,
    dataset: Dataset,
    rows: Sequence[PartitionKey],
    columns: Collection[str] | None,
    source: str,
) -> list[NewInvalidation]:
    """Return the invalidation of partitions for readers that are stale; empty without any."""
    if not rows:
        return []
    space = lineage.space(dataset.id)
    texts = space.texts(space.from_keys(row.key for row in rows))
    where, reason = (dataset.id, dataset.version, texts), OwnReason.FOUND
    return [own_invalidation(*where, reason=reason, source=source, columns=columns)]


async def _raised(conn: Connection, lineage: Lineage, job: Job, edges: Sequence[Edge]) -> set[str]:
    """Return the keys of partitions that earlier changes may reach without evidence.

    Their runs were recorded as past the changes, which did not reach them by the earlier lineage.
    """
    output = lineage.dataset(job.outputs[0])
    rows = await fetch(
        conn,
        "row_changes.raised_single_run" if job.is_single_run else "row_changes.raised_runs",
        PartitionKey,
        output=output.id,
        output_version=output.version,
        inputs=[edge.dataset for edge in edges],
    )
    return {row.key for row in rows}
