"""Forget contents: the next run of some partitions counts as a change, whatever it writes.

A run compares what it writes with the content that the run before it recorded. That is no use
where the partition may hold something else by now, or where the next run will take in changes that
no plan has propagated to the readers.
"""

from collections.abc import Iterable, Sequence
from uuid import UUID

from engine.lineage.graph import Lineage
from engine.store.database import Connection
from engine.store.run import execute

Partitions = tuple[UUID, Iterable[str]]
"""A job and partition keys of its outputs."""


async def forget_partial_writes(
    conn: Connection, lineage: Lineage, job_id: UUID, keys: Sequence[str]
) -> None:
    """Mark partitions that an attempt may have written before it ended without a completion.

    They are stale until a run has completed, and a reader may have read them. The SQL operator
    writes in the transaction that completes the task, so its failed attempts have written nothing.
    """
    job = lineage.find_job(job_id)
    if job is None or job.writes_with_its_completion:
        return
    everything: list[str | None] = [None]
    partitions = [(job_id, everything if job.is_unit else keys)]
    await _forget(conn, lineage, partitions, partly_written=True)
    if job.is_unit:
        await execute(
            conn,
            "stale.mark_units_partly_written",
            datasets=list(job.outputs),
            versions=[lineage.dataset(output).version for output in job.outputs],
        )


async def forget_unplanned(
    conn: Connection, lineage: Lineage, partitions: Iterable[Partitions]
) -> None:
    """Forget the contents of partitions whose recompute was decided against.

    A later run takes in the change whose readers were not invalidated. Where fingerprints of single
    columns are known they show what it changed.
    """
    await _forget(conn, lineage, partitions, partly_written=False)


async def _forget(
    conn: Connection,
    lineage: Lineage,
    partitions: Iterable[tuple[UUID, Iterable[str | None]]],
    *,
    partly_written: bool,
) -> None:
    rows = [
        (output, lineage.dataset(output).version, key)
        for job, keys in partitions
        for key in keys
        for output in lineage.job(job).outputs
    ]
    if rows:
        datasets, versions, keys = (list(each) for each in zip(*rows, strict=True))
        await execute(
            conn,
            "partitions.forget_content",
            datasets=datasets,
            versions=versions,
            keys=keys,
            partly_written=partly_written,
        )
