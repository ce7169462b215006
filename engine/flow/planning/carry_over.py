"""Carry invalidations of an earlier version of a source over to the current version."""

from collections.abc import Iterable, Sequence
from itertools import groupby
from uuid import UUID

from msgspec.structs import replace

from engine.errors import InvalidPartition
from engine.lineage.graph import Lineage
from engine.partitions import PartitionSpace
from engine.store.database import Connection
from engine.store.rows.dags import VersionPartitioning
from engine.store.rows.invalidations import InheritableInvalidation, LockedInvalidation
from engine.store.run import execute, fetch


async def carry_over(
    conn: Connection,
    rows: Iterable[InheritableInvalidation | LockedInvalidation],
    before: PartitionSpace,
    now: PartitionSpace,
    version: UUID,
) -> dict[UUID, str | None]:
    """Move locked invalidations to another dataset version with compatible partitioning.

    Returns the new partition keys by invalidation. Invalidations of partitions outside the new
    version are not moved. Partition keys invalid in the earlier version are widened to the whole
    dataset.
    """
    carried: dict[UUID, str | None] = {}
    for row in rows:
        old_key = row.partition_key
        try:
            key = old_key and now.convert_text(before, old_key)
        except InvalidPartition:
            key = old_key = None
        if key or old_key is None:
            carried[row.id] = key
    ids, keys = list(carried), list(carried.values())
    await execute(conn, "invalidations.inherit", version=version, ids=ids, keys=keys)
    return carried


async def carry_late(
    conn: Connection, lineage: Lineage, rows: Sequence[LockedInvalidation]
) -> list[LockedInvalidation]:
    """Carry over invalidations that were ingested while a deploy of their source committed."""
    if not rows:
        return []
    versions = list({row.dataset_version for row in rows})
    rows_of_versions = await fetch(
        conn, "dags.partitionings", VersionPartitioning, versions=versions
    )
    spaces = {row.id: PartitionSpace.from_spec(row.partitioning) for row in rows_of_versions}
    carried: list[LockedInvalidation] = []
    for (dataset, version), alike in groupby(sorted(rows, key=_ends), key=_ends):
        current, now = lineage.dataset(dataset), lineage.space(dataset)
        if now.is_alike(spaces[version]):
            late = list(alike)
            keys = await carry_over(conn, late, spaces[version], now, current.version)
            carried += [
                replace(row, partition_key=keys[row.id], dataset_version=current.version)
                for row in late
                if row.id in keys
            ]
    return carried


def _ends(row: LockedInvalidation) -> tuple[UUID, UUID]:
    return row.dataset_uuid, row.dataset_version
