"""Rebuilds of partitions that only earlier dataset versions contain, such as backfilled ones."""

from collections.abc import Collection, Mapping, Sequence
from datetime import datetime
from uuid import UUID

from engine.flow.deployment.dataset_versions import DatasetVersions
from engine.flow.deployment.new_versions import NewVersion
from engine.flow.deployment.open_requests import carry_requests
from engine.flow.shared.invalidations import NewInvalidation, definition_change
from engine.flow.shared.load_partitions import answer_from_known
from engine.lineage.graph import Lineage
from engine.partitions import PartitionSet, PartitionSpace
from engine.planner import retained_partitions
from engine.store.database import Connection
from engine.store.rows.dags import VersionPartitioning
from engine.store.rows.partitions import VersionedKey
from engine.store.rows.tasks import CanceledTask
from engine.store.run import fetch


async def retained(
    conn: Connection,
    lineage: Lineage,
    deployed: Sequence[NewVersion],
    canceled: Mapping[UUID, Sequence[CanceledTask]],
    now: datetime,
) -> list[NewInvalidation]:
    """Invalidations for partitions of the previous versions that the inputs no longer give.

    Partitions of canceled tasks (by the id of the new DAG version), or left unbuilt by a decision,
    count like built ones. Open requests for further partitions are carried over.
    """
    # A dataset may have moved to another DAG, whose version it is created in.
    unbuilt = _of_tasks(deployed, canceled)
    earlier: dict[UUID, PartitionSet] = {}
    for new in deployed:
        earlier |= await _earlier(conn, lineage, new, unbuilt)
    further: dict[UUID, PartitionSet] = {}
    if earlier:
        created = {dataset for new in deployed for dataset in _produced(new)}
        further |= await answer_from_known(
            conn, lineage, lambda known: retained_partitions(lineage, earlier, created, known, now)
        )
        further |= _of_manual_jobs(lineage, earlier)
    await carry_requests(conn, lineage, deployed, further, now)
    return [
        definition_change(dataset, lineage.dataset(dataset).version, text)
        for dataset, partitions in further.items()
        for text in lineage.space(dataset).texts(partitions)
    ]


def _produced(new: NewVersion) -> set[UUID]:
    """Return the datasets with a new version that jobs produce."""
    return new.created - {new.versions.datasets[source.name] for source in new.compiled.sources}


async def _earlier(
    conn: Connection, lineage: Lineage, new: NewVersion, unbuilt: Mapping[str, Collection[str]]
) -> dict[UUID, PartitionSet]:
    """Load the partitions of the previous versions of a DAG's datasets, in the new bounds."""
    keys = await _built_or_decided(conn, new)
    for name in new.versions.predecessors.keys() & unbuilt.keys():
        keys.setdefault(name, set()).update(unbuilt[name])
    return await _in_new_bounds(conn, lineage, new.versions, keys) if keys else {}


def _of_manual_jobs(
    lineage: Lineage, earlier: Mapping[UUID, PartitionSet]
) -> dict[UUID, PartitionSet]:
    """Return the earlier partitions of manual jobs, whatever their inputs give."""
    return {
        dataset: partitions
        for dataset, partitions in earlier.items()
        if partitions and lineage.producer(dataset).is_manual
    }


async def _built_or_decided(conn: Connection, new: NewVersion) -> dict[str, set[str]]:
    """Fetch the keys of the previous versions of produced datasets, by dataset name."""
    names = {version: name for name, version in new.produced_predecessors.items()}
    rows = await fetch(
        conn,
        "partitions.built_or_decided",
        VersionedKey,
        datasets=[new.versions.datasets[name] for name in names.values()],
        versions=list(names),
    )
    keys: dict[str, set[str]] = {}
    for row in rows:
        keys.setdefault(names[row.version], set()).add(row.key)
    return keys


def _of_tasks(
    deployed: Sequence[NewVersion], canceled: Mapping[UUID, Sequence[CanceledTask]]
) -> dict[str, set[str]]:
    """Return the keys of canceled tasks by dataset name."""
    keys: dict[str, set[str]] = {}
    for new in deployed:
        jobs = new.previous.compiled.jobs if new.previous else ()
        outputs = {job.name: job.outputs for job in jobs}
        for task in canceled[new.id]:
            for name in outputs[task.job]:
                keys.setdefault(name, set()).update(task.partitions)
    return keys


async def _in_new_bounds(
    conn: Connection, lineage: Lineage, versions: DatasetVersions, keys: Mapping[str, set[str]]
) -> dict[UUID, PartitionSet]:
    """Restrict keys of previous versions to the new ones; none if the partitioning is another."""
    rows = await fetch(
        conn,
        "dags.partitionings",
        VersionPartitioning,
        versions=[versions.predecessors[name] for name in keys],
    )
    spaces = {row.id: PartitionSpace.from_spec(row.partitioning) for row in rows}
    restricted = {}
    for name, texts in keys.items():
        dataset = versions.datasets[name]
        before, now = spaces[versions.predecessors[name]], lineage.space(dataset)
        if now.is_alike(before):
            restricted[dataset] = now.part_of(before.from_keys(texts))
    return restricted
