"""Carry invalidations of an earlier version of a source over to the current version."""

from collections.abc import Iterable, Sequence
from itertools import groupby
from uuid import UUID

from engine.errors import InvalidPartition
from engine.lineage.graph import Lineage
from engine.partitions import PartitionSpace
from engine.store.database import Connection
from engine.store.run import Row, execute, fetch


async def carry_over(
    conn: Connection,
    rows: Iterable[Row],
    before: PartitionSpace,
    now: PartitionSpace,
    version: UUID,
) -> list[Row]:
    """Move locked invalidations to another dataset version with compatible partitioning.

    Returns the updated rows. Invalidations of partitions outside the new version are not moved.
    Partition keys invalid in the earlier version are widened to the whole dataset.
    """
    carried = []
    for row in rows:
        old_key = row["partition_key"]
        try:
            key = old_key and now.recut(before, old_key)
        except InvalidPartition:
            key = old_key = None
        if key or old_key is None:
            carried.append(row | {"partition_key": key, "dataset_version": version})
    ids, keys = [row["id"] for row in carried], [row["partition_key"] for row in carried]
    await execute(conn, "invalidations.inherit", version=version, ids=ids, keys=keys)
    return carried


async def carry_late(conn: Connection, lineage: Lineage, rows: Sequence[Row]) -> list[Row]:
    """Carry over invalidations that were ingested while a deploy of their source committed."""
    if not rows:
        return []
    versions = list({row["dataset_version"] for row in rows})
    rows_of_versions = await fetch(conn, "dags.partitionings", versions=versions)
    spaces = {row["id"]: PartitionSpace.from_spec(row["partitioning"]) for row in rows_of_versions}
    carried: list[Row] = []
    for (dataset, version), alike in groupby(sorted(rows, key=_ends), key=_ends):
        current, now = lineage.dataset(dataset), lineage.space(dataset)
        if now.is_alike(spaces[version]):
            carried += await carry_over(conn, alike, spaces[version], now, current.version)
    return carried


def _ends(row: Row) -> tuple[UUID, UUID]:
    return row["dataset_uuid"], row["dataset_version"]
