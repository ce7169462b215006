"""Requests to build partitions, still open when a deploy creates a version of their dataset."""

from collections.abc import Iterable, Iterator, Mapping
from datetime import datetime
from functools import partial
from uuid import UUID

from engine.errors import InvalidPartition
from engine.flow.deployment.new_versions import NewVersion
from engine.flow.planning.carry_over import carry_over
from engine.flow.shared.load_partitions import answer_from_known
from engine.lineage.graph import Lineage
from engine.partitions import PartitionSet, PartitionSpace
from engine.planner import given_partitions
from engine.store.database import Connection
from engine.store.rows.dags import VersionPartitioning
from engine.store.rows.invalidations import InheritableInvalidation
from engine.store.run import fetch


async def carry_requests(
    conn: Connection,
    lineage: Lineage,
    deployed: Iterable[NewVersion],
    retained: Mapping[UUID, PartitionSet],
    now: datetime,
) -> None:
    """Carry requests over that name partitions not built with the new dataset versions anyway.

    ``retained`` are partitions of earlier versions to be built. A request pending approval stays
    pending.
    """
    for version, dataset, predecessor in _replaced(deployed):
        ids = {"dataset": dataset, "predecessor": predecessor}
        rows = await fetch(conn, "invalidations.open_requests", InheritableInvalidation, **ids)
        if not rows:
            continue
        (row,) = await fetch(
            conn, "dags.partitionings", VersionPartitioning, versions=[predecessor]
        )
        before, space = PartitionSpace.from_spec(row.partitioning), lineage.space(dataset)
        if space.is_alike(before):
            question = partial(given_partitions, lineage, dataset, now=now)
            given = await answer_from_known(conn, lineage, question)
            built = given | retained.get(dataset, space.empty)
            unbuilt = [row for row in rows if not _is_built(row, before, space, built)]
            await carry_over(conn, unbuilt, before, space, version)


def _replaced(deployed: Iterable[NewVersion]) -> Iterator[tuple[UUID, UUID, UUID]]:
    """Yield the new version, dataset and previous version of each produced dataset."""
    for new in deployed:
        for name, predecessor in new.produced_predecessors.items():
            yield new.versions.created[name], new.versions.datasets[name], predecessor


def _is_built(
    row: InheritableInvalidation, before: PartitionSpace, space: PartitionSpace, built: PartitionSet
) -> bool:
    """Return True if the new version contains all partitions of a request, or none is possible."""
    try:
        requested = before.parse(row.partition_key or "")
    except InvalidPartition:
        return True
    return built.covers(space.part_of(requested))
