"""Remove old versions of DAGs, and dataset versions that belong to no DAG version.

The versions are not used again: a deploy of an earlier DAG version builds new dataset versions. A
sweep consists of short transactions. After a crash, the next sweep continues.
"""

from collections.abc import Sequence
from uuid import UUID

import msgspec

from engine.flow.retention.archive import TASKS, move
from engine.flow.shared.org_context import OrgContext
from engine.store.database import Connection
from engine.store.orgs import lock_planning
from engine.store.rows.history import FinishedId
from engine.store.rows.sweeps import BuiltPartition, OldDagVersion, OldDatasetVersion, SweptSizes
from engine.store.run import execute, fetch

_ALL_DAYS = 100_000.0
"""Longer than any history; PostgreSQL has no times before 4713 BC."""
_BATCH = 1_000
_INPUTS = 10_000
"""Recorded inputs deleted in one transaction; a task may have any number."""


class Swept(msgspec.Struct, frozen=True):
    """Numbers of rows removed by a sweep, or to be removed."""

    dag_versions: int = 0
    dataset_versions: int = 0
    partitions: int = 0
    inputs: int = 0

    def __add__(self, other: "Swept") -> "Swept":
        return Swept(
            self.dag_versions + other.dag_versions,
            self.dataset_versions + other.dataset_versions,
            self.partitions + other.partitions,
            self.inputs + other.inputs,
        )


class SweepPreview(msgspec.Struct, frozen=True):
    """Rows that a sweep would remove; ``bytes`` is estimated from the average size of a row."""

    rows: Swept
    bytes: int
    versions: tuple[OldDagVersion, ...]


async def preview_sweep(conn: Connection, org: OrgContext, days: float) -> SweepPreview:
    """Count what a sweep would remove."""
    versions = await _dag_versions(conn, org, days, limit=None)
    removed = [version.id for version in versions]
    datasets = await _dataset_versions(conn, org, days, removed, limit=None)
    (sizes,) = await fetch(
        conn,
        "sweeps.sizes",
        SweptSizes,
        datasets=[row.dataset for row in datasets],
        versions=[row.version for row in datasets],
    )
    rows = Swept(len(versions), len(datasets), sizes.partitions, sizes.inputs)
    return SweepPreview(rows, sizes.bytes, tuple(versions))


async def sweep(conn: Connection, org: OrgContext, days: float) -> Swept | None:
    """Remove a DAG version that was last current some days ago, or a batch of old partitions.

    Returns None if nothing is left to remove.
    """
    if await _dag_versions(conn, org, days, limit=1):
        return await _sweep_dag_version(conn, org, days)
    for row in await _dataset_versions(conn, org, days, [], limit=1):
        return await _sweep_dataset_version(conn, row)
    return None


async def _dag_versions(
    conn: Connection, org: OrgContext, days: float, limit: int | None
) -> list[OldDagVersion]:
    return await fetch(
        conn,
        "sweeps.dag_versions",
        OldDagVersion,
        org_id=org.id,
        days=min(days, _ALL_DAYS),
        limit=limit,
    )


async def _dataset_versions(
    conn: Connection, org: OrgContext, days: float, removed: Sequence[UUID], limit: int | None
) -> list[OldDatasetVersion]:
    return await fetch(
        conn,
        "sweeps.dataset_versions",
        OldDatasetVersion,
        org_id=org.id,
        days=min(days, _ALL_DAYS),
        removed=list(removed),
        limit=limit,
    )


async def _sweep_dag_version(conn: Connection, org: OrgContext, days: float) -> Swept:
    """Remove a DAG version, under the lock that excludes its deploy.

    Its finished tasks move to the history first, because they may explain partitions that later
    versions have kept.
    """
    async with conn.transaction():
        await lock_planning(conn, org.id)
        for version in await _dag_versions(conn, org, days, limit=1):
            ids = {"dag_version_id": version.id}
            rows = await fetch(conn, "sweeps.finished_tasks", FinishedId, limit=_BATCH, **ids)
            await move(conn, rows, TASKS, "history.move_tasks")
            if len(rows) < _BATCH:
                return Swept(dag_versions=await execute(conn, "sweeps.delete_dag_version", **ids))
    return Swept()


async def _sweep_dataset_version(conn: Connection, row: OldDatasetVersion) -> Swept:
    """Remove a batch of the rows of a dataset version, and the version after the last batch.

    A partition is removed after the evidence of its task, so that none is left behind.
    """
    ids = {"dataset": row.dataset, "version": row.version}
    partitions = await fetch(conn, "sweeps.partitions", BuiltPartition, limit=_BATCH, **ids)
    runs = await fetch(conn, "sweeps.single_runs", FinishedId, **ids)
    tasks = {each.task_id for each in partitions if each.task_id} | {run.id for run in runs}
    inputs = await execute(conn, "sweeps.delete_inputs", tasks=list(tasks), limit=_INPUTS)
    if inputs == _INPUTS:
        return Swept(inputs=inputs)
    keys = [each.key for each in partitions]
    deleted = await execute(conn, "sweeps.delete_partitions", keys=keys, **ids)
    decisions = await execute(conn, "sweeps.delete_decisions", limit=_BATCH, **ids)
    if len(partitions) == _BATCH or decisions == _BATCH:
        return Swept(partitions=deleted, inputs=inputs)
    versions = await execute(conn, "sweeps.delete_dataset_version", version=row.version)
    return Swept(dataset_versions=versions, partitions=deleted, inputs=inputs)
