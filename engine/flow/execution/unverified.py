"""Unverified contents: the next run of these partitions counts as a change, whatever its output.

The output of a run is compared with the content recorded by the previous run. The comparison is
useless if the partition may have been overwritten since, or if the next run will incorporate
changes that no plan has propagated to the readers.
"""

from collections.abc import Iterable, Sequence
from uuid import UUID

from engine.flow.shared.invalidations import NewInvalidation, insert_own, own_invalidation
from engine.flow.shared.org_context import OrgContext
from engine.lineage.graph import Lineage
from engine.model.invalidation import OwnReason
from engine.store.database import Connection
from engine.store.rows.partitions import PartitionKey
from engine.store.run import execute, fetch

Partitions = tuple[UUID, Iterable[str]]
"""A job and partition keys of its outputs."""


async def mark_partly_written(
    conn: Connection, lineage: Lineage, job_id: UUID, keys: Sequence[str]
) -> None:
    """Mark partitions possibly written by an attempt that ended without completion.

    The partitions are stale until a run completes, and may already have been read. SQL jobs of the
    runtime ``local`` write in the transaction that completes the task, so their failed attempts
    have written nothing.
    """
    job = lineage.find_job(job_id)
    if job is None or job.writes_with_its_completion:
        return
    everything: list[str | None] = [None]
    partitions = [(job_id, everything if job.is_single_run else keys)]
    await _discard_fingerprints(conn, lineage, partitions, partly_written=True)
    if job.is_single_run:
        await execute(
            conn,
            "stale.mark_single_runs_partly_written",
            datasets=list(job.outputs),
            versions=[lineage.dataset(output).version for output in job.outputs],
        )


async def mark_unverified(
    conn: Connection,
    org: OrgContext,
    lineage: Lineage,
    partitions: Iterable[Partitions],
    source: str,
) -> None:
    """Mark partitions left stale by a decision.

    A later run will incorporate the change, although the readers were not invalidated. If
    fingerprints of single columns are known, they identify the columns changed by that run.
    """
    marked = [(job, list(keys)) for job, keys in partitions]
    await _propagate_uncompared(conn, org, lineage, marked, source)
    await _discard_fingerprints(conn, lineage, marked, partly_written=False)


async def _propagate_uncompared(
    conn: Connection,
    org: OrgContext,
    lineage: Lineage,
    partitions: Sequence[tuple[UUID, Sequence[str]]],
    source: str,
) -> None:
    """Invalidate readers of partitions whose last runs may have incorporated an unrelated change.

    The decision ends the comparison of scopes, and the change may have no other plan. This includes
    partitions made stale by later changes.
    """
    invalidations: list[NewInvalidation] = []
    for id_, keys in partitions:
        for output in lineage.job(id_).outputs:
            dataset = lineage.dataset(output)
            rows = await fetch(
                conn,
                "partitions.attribute_fully",
                PartitionKey,
                dataset=dataset.id,
                version=dataset.version,
                keys=keys,
            )
            found = [row.key for row in rows]
            if found:
                where = dataset.id, dataset.version
                invalidations.append(
                    own_invalidation(*where, found, reason=OwnReason.FOUND, source=source)
                )
    await insert_own(conn, org, invalidations)


async def _discard_fingerprints(
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
        datasets, versions, keys = (list(column) for column in zip(*rows, strict=True))
        await execute(
            conn,
            "partitions.discard_fingerprints",
            datasets=datasets,
            versions=versions,
            keys=keys,
            partly_written=partly_written,
        )
