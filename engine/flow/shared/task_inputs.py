"""Input partitions that tasks read, with their content versions."""

from collections.abc import Iterable, Mapping, Sequence
from datetime import datetime
from uuid import UUID

from engine.flow.shared.load_partitions import load_existing
from engine.lineage.graph import Lineage
from engine.model.job import Job
from engine.partitions import PartitionSet
from engine.planner import MissingState, input_partitions, lookup_in
from engine.store.database import Connection
from engine.store.rows.partitions import ContentVersion
from engine.store.run import fetch

Need = tuple[Job, Sequence[str]]
Reads = Mapping[UUID, Sequence[str]]
ContentVersions = Mapping[UUID, Mapping[str, datetime]]
InputVersions = dict[str, dict[str, datetime | None]]


async def input_versions(
    conn: Connection, lineage: Lineage, needs: Iterable[Need]
) -> list[InputVersions]:
    """Return ``{input dataset: {key: content version}}`` for each job and its task's keys."""
    reads = await input_keys(conn, lineage, list(needs))
    versions = await _content_versions(conn, lineage, reads)
    return [
        {
            str(dataset): {key: versions[dataset].get(key) for key in keys}
            for dataset, keys in read.items()
        }
        for read in reads
    ]


async def input_keys(conn: Connection, lineage: Lineage, needs: Sequence[Need]) -> list[Reads]:
    """Return the input keys by dataset for each job and its task's keys."""
    existing: dict[UUID, PartitionSet] = {}
    while True:
        try:
            return [_read(lineage, job, keys, existing) for job, keys in needs]
        except MissingState as needed:
            for dataset in needed.datasets:
                existing[dataset] = await load_existing(conn, lineage, dataset)


def _read(
    lineage: Lineage, job: Job, keys: Sequence[str], existing: Mapping[UUID, PartitionSet]
) -> Reads:
    """Return the keys by input dataset; with identity mappings only, the task's own keys."""
    edges = lineage.inputs(job.id)
    if not job.is_single_run and all(edge.mapping.is_identity for edge in edges):
        return {edge.dataset: keys for edge in edges}
    read = input_partitions(lineage, job, keys, lookup_in(existing))
    return {
        dataset: list(lineage.space(dataset).keys(partitions))
        for dataset, partitions in read.items()
    }


async def _content_versions(
    conn: Connection, lineage: Lineage, reads: Iterable[Reads]
) -> ContentVersions:
    """Fetch the content versions of all these partitions, each once."""
    wanted: dict[UUID, set[str]] = {}
    for read in reads:
        for dataset, keys in read.items():
            wanted.setdefault(dataset, set()).update(keys)
    pairs = [(dataset, key) for dataset, keys in wanted.items() for key in keys]
    rows = await fetch(
        conn,
        "partitions.content_versions",
        ContentVersion,
        datasets=[dataset for dataset, _ in pairs],
        versions=[lineage.dataset(dataset).version for dataset, _ in pairs],
        keys=[key for _, key in pairs],
    )
    versions: dict[UUID, dict[str, datetime]] = {dataset: {} for dataset in wanted}
    for row in rows:
        versions[row.dataset_uuid][row.partition_key] = row.materialized_at
    return versions
