"""Changes of earlier runs that were compared late, because the scopes of a task were unknown.

Their readers become stale if they have not run since. No plan may have reached these readers.
"""

from collections.abc import AsyncIterator, Iterator, Sequence

from engine.flow.execution.contents import LateChange
from engine.flow.shared.load_partitions import existing_of
from engine.flow.shared.stale import stale_partitions
from engine.lineage.graph import Lineage
from engine.model.job import Job
from engine.partitions import PartitionSet
from engine.store.database import Connection


async def stale_for_readers(
    conn: Connection, lineage: Lineage, late: Sequence[LateChange]
) -> AsyncIterator[LateChange]:
    """Yield the changes for which a partition of a reader is stale."""
    for change in late:
        readers = [lineage.job(edge.job) for edge in lineage.readers(change.report.dataset_uuid)]
        existing = await existing_of(conn, lineage, [job.outputs[0] for job in readers])
        known = [existing[job.outputs[0]] for job in readers]
        needs = [*_reading(lineage, change, known)]
        if await stale_partitions(conn, lineage, needs):
            yield change


def _reading(
    lineage: Lineage, change: LateChange, known: Sequence[PartitionSet]
) -> Iterator[tuple[Job, list[str]]]:
    """Yield each reader with its existing partitions that are built from the changed one."""
    dataset = change.report.dataset_uuid
    partition = lineage.space(dataset).parse(change.report.partition_key)
    for edge, existing in zip(lineage.readers(dataset), known, strict=True):
        job = lineage.job(edge.job)
        touched = edge.mapping.down(partition, partition) & existing
        yield job, list(lineage.job_space(job).keys(touched))
