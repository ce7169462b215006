"""Rebuilds of partitions that only earlier dataset versions contain, such as backfilled ones."""

from collections.abc import Mapping, Sequence
from datetime import datetime
from uuid import UUID

from engine.flow.deployment.current_versions import CurrentVersion
from engine.flow.deployment.dataset_versions import DatasetVersions
from engine.flow.deployment.open_requests import carry_requests
from engine.flow.shared.invalidations import NewInvalidation, definition_change
from engine.flow.shared.load_partitions import answer_from_known
from engine.flow.shared.org_context import OrgContext
from engine.lineage.compiled import CompiledDag
from engine.lineage.graph import Lineage
from engine.model.states import Activation
from engine.partitions import PartitionSet, PartitionSpace
from engine.planner import retained_partitions
from engine.store.database import Connection
from engine.store.rows.dags import VersionPartitioning
from engine.store.rows.partitions import VersionedKey
from engine.store.rows.tasks import CanceledTask
from engine.store.run import fetch


async def retained(
    conn: Connection,
    org: OrgContext,
    previous: CurrentVersion | None,
    compiled: CompiledDag,
    versions: DatasetVersions,
    canceled: Sequence[CanceledTask],
    now: datetime,
) -> list[NewInvalidation]:
    """Invalidations for partitions of the previous versions that the inputs no longer give.

    Partitions of canceled tasks, or left unbuilt by a decision, count like built ones. Open
    requests for further partitions are carried over to the new versions.
    """
    lineage = await org.lineage(conn)
    sources = {source.name for source in compiled.sources}
    produced = [name for name in versions.created if name not in sources]
    keys = await _built_or_decided(conn, versions, produced)
    for dataset, added in _of_tasks(previous, versions, canceled).items():
        keys.setdefault(dataset, set()).update(added)
    further: dict[UUID, PartitionSet] = {}
    if keys:
        earlier = await _in_new_bounds(conn, lineage, versions, keys)
        created = {versions.datasets[name] for name in produced}
        further |= await answer_from_known(
            conn, lineage, lambda known: retained_partitions(lineage, earlier, created, known, now)
        )
        further |= _of_manual_jobs(lineage, earlier)
    await carry_requests(conn, lineage, versions, produced, further, now)
    return [
        definition_change(dataset, lineage.dataset(dataset).version, text)
        for dataset, partitions in further.items()
        for text in lineage.space(dataset).texts(partitions)
    ]


def _of_manual_jobs(
    lineage: Lineage, earlier: Mapping[UUID, PartitionSet]
) -> dict[UUID, PartitionSet]:
    """Return the earlier partitions of manual jobs, whatever their inputs give."""
    return {
        dataset: partitions
        for dataset, partitions in earlier.items()
        if partitions and lineage.producer(dataset).activation == Activation.MANUAL
    }


async def _built_or_decided(
    conn: Connection, versions: DatasetVersions, produced: Sequence[str]
) -> dict[str, set[str]]:
    """Fetch the keys of the previous versions of produced datasets, by dataset name."""
    names = {
        versions.predecessors[name]: name for name in produced if name in versions.predecessors
    }
    rows = await fetch(
        conn,
        "partitions.built_or_decided",
        VersionedKey,
        datasets=[versions.datasets[name] for name in names.values()],
        versions=list(names),
    )
    keys: dict[str, set[str]] = {}
    for row in rows:
        keys.setdefault(names[row.version], set()).add(row.key)
    return keys


def _of_tasks(
    previous: CurrentVersion | None, versions: DatasetVersions, canceled: Sequence[CanceledTask]
) -> dict[str, set[str]]:
    """Return the keys of canceled tasks by dataset name."""
    outputs = {job.name: job.outputs for job in previous.compiled.jobs} if previous else {}
    keys: dict[str, set[str]] = {}
    for task in canceled:
        for name in outputs[task.job]:
            if name in versions.predecessors:
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
