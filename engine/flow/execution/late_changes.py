"""Changes of earlier runs that were compared late, because the scopes of a task were unknown.

Their readers become stale if they have not run since. No plan may have reached these readers.
"""

from collections.abc import Iterator, Mapping, Sequence
from uuid import UUID

from engine.flow.execution.contents import LateChange
from engine.flow.shared.load_partitions import existing_of
from engine.flow.shared.stale import stale_partitions
from engine.lineage.graph import Lineage
from engine.model.job import Job
from engine.partitions import PartitionSet
from engine.store.database import Connection


async def stale_for_readers(
    conn: Connection, lineage: Lineage, late: Sequence[LateChange]
) -> list[LateChange]:
    """Return the changes for which a partition of a reader is stale."""
    datasets = {change.report.dataset_uuid for change in late}
    readers = {edge.job for dataset in datasets for edge in lineage.readers(dataset)}
    outputs = {lineage.job(reader).outputs[0] for reader in readers}
    existing = await existing_of(conn, lineage, outputs)
    return [
        change
        for change in late
        if await stale_partitions(conn, lineage, [*_reading(lineage, change, existing)])
    ]


def _reading(
    lineage: Lineage, change: LateChange, existing: Mapping[UUID, PartitionSet]
) -> Iterator[tuple[Job, list[str]]]:
    """Yield each reader with its existing partitions that are built from the changed one."""
    dataset = change.report.dataset_uuid
    partition = lineage.space(dataset).parse(change.report.partition_key)
    for edge in lineage.readers(dataset):
        job = lineage.job(edge.job)
        touched = edge.mapping.down(partition, partition) & existing[job.outputs[0]]
        yield job, list(lineage.job_space(job).keys(touched))
