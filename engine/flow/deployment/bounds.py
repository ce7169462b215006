"""Changed bounds and key lists: datasets keep the partitions within the old and the new ones.

The dataset version stays the same. Records of partitions that leave the bounds are deleted, so that
no run reads them and no task builds them; the rows of tables are kept. Partitions that return are
built again.
"""

from collections.abc import Mapping
from dataclasses import dataclass
from uuid import UUID

import msgspec

from engine.errors import InvalidPartition
from engine.flow.deployment.current_versions import CurrentVersion
from engine.flow.deployment.dataset_versions import DatasetVersions
from engine.flow.planning.carry_over import carry_over
from engine.flow.shared.load_partitions import load_existing, load_known
from engine.lineage.compiled import CompiledDag
from engine.lineage.graph import Lineage
from engine.lineage.growth import added, changed_bounds
from engine.partitions import PartitionSpace
from engine.planner import InputChange
from engine.store.database import Connection
from engine.store.rows.invalidations import InheritableInvalidation
from engine.store.rows.partitions import PartitionKey
from engine.store.run import execute, fetch


@dataclass(frozen=True, slots=True)
class OtherBounds:
    """A dataset with the grid of before, and other bounds or keys.

    ``version`` is the dataset version before the deploy; ``is_kept``: it is still the current one.
    ``change`` is of the existing partitions, ``known_change`` also of those that tasks will build.
    """

    before: PartitionSpace
    now: PartitionSpace
    version: UUID
    is_kept: bool
    change: InputChange
    known_change: InputChange

    @property
    def has_shrunk(self) -> bool:
        """True if partitions have left the bounds, whether or not any of them existed."""
        return bool(added(self.now, self.before))


async def load_other_bounds(
    conn: Connection,
    before: Lineage | None,
    previous: CurrentVersion | None,
    compiled: CompiledDag,
    versions: DatasetVersions,
) -> dict[UUID, OtherBounds]:
    """Load the datasets with other bounds, and their partitions before the deploy."""
    if before is None or previous is None:
        return {}
    bounds = {}
    for name, (was, now) in changed_bounds(previous.compiled, compiled).items():
        dataset = before.dataset_named(name)
        existing = await load_existing(conn, before, dataset.id)
        known = await load_known(conn, before, dataset.id)
        is_source = before.producer(dataset.id).is_source
        bounds[dataset.id] = OtherBounds(
            was,
            now,
            dataset.version,
            name not in versions.created,
            InputChange.of(existing, now, is_source=is_source),
            InputChange.of(known, now, is_source=is_source),
        )
    return bounds


async def move_bounds(conn: Connection, bounds: Mapping[UUID, OtherBounds]) -> None:
    """Give dataset versions their new bounds, and delete the records of partitions outside.

    Open invalidations are limited to the new bounds.
    """
    for dataset, other in bounds.items():
        if not other.is_kept:
            continue
        ids = {"dataset": dataset, "version": other.version}
        partitioning = msgspec.json.encode(other.now.to_spec()).decode()
        await execute(
            conn, "dags.set_partitioning", version=other.version, partitioning=partitioning
        )
        if other.has_shrunk:
            rows = await fetch(conn, "partitions.recorded", PartitionKey, **ids)
            keys = {row.key for row in rows}
            outside = keys.difference(other.now.inside(keys))
            await execute(conn, "partitions.remove", keys=list(outside), **ids)
        open_rows = await fetch(conn, "invalidations.open_parts", InheritableInvalidation, **ids)
        others = [row for row in open_rows if _differs(other, row.partition_key or "")]
        await carry_over(conn, others, other.before, other.now, other.version)


def _differs(other: OtherBounds, text: str) -> bool:
    """Return True if a text denotes other partitions within the new bounds than before.

    Partitions that an earlier deploy has removed are the same. A text without any meaning stands
    for the whole dataset from now on.
    """
    if not _has_meaning(other.before, text):
        return not _has_meaning(other.before.unlimited(), text)
    if not _has_meaning(other.now, text):
        return True
    return other.now.parse(text) != other.now.part_of(other.before.parse(text))


def _has_meaning(space: PartitionSpace, text: str) -> bool:
    try:
        space.parse(text)
    except InvalidPartition:
        return False
    return True
