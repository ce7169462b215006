"""Invalidations raised by a deploy, apart from those for new dataset versions."""

from collections.abc import Sequence
from typing import Any
from uuid import UUID

from engine.flow.deployment.current_versions import CurrentVersion
from engine.flow.deployment.dataset_versions import DatasetVersions
from engine.flow.execution.forget import forget_partial_writes
from engine.flow.shared.invalidations import definition_change
from engine.flow.shared.load_partitions import load_existing, load_expected, load_former, load_known
from engine.flow.shared.org_context import OrgContext
from engine.lineage.compiled import CompiledDag
from engine.lineage.diff import DagDiff
from engine.lineage.graph import Lineage
from engine.partitions import PartitionSet
from engine.store.database import Connection
from engine.store.run import Row


async def canceled_rebuilds(
    conn: Connection,
    org: OrgContext,
    compiled: CompiledDag,
    versions: DatasetVersions,
    canceled: Sequence[Row],
) -> list[dict[str, Any]]:
    """Invalidations for tasks canceled only because the job's tasks now cover different blocks.

    A started attempt may have written some output already.
    """
    lineage = await org.lineage(conn)
    made = {job.name: job.outputs[0] for job in compiled.jobs}
    invalidations = []
    for row in canceled:
        if row["job"] not in made or made[row["job"]] in versions.created:
            continue
        dataset = lineage.dataset_named(made[row["job"]])
        if row["attempts"]:
            job = lineage.producer(dataset.id)
            await forget_partial_writes(conn, lineage, job.id, row["partitions"])
        invalidations += [
            definition_change(dataset.id, dataset.version, partition)
            for partition in row["partitions"]
        ]
    return invalidations


async def changed_sources_read_by_others(
    conn: Connection,
    org: OrgContext,
    compiled: CompiledDag,
    versions: DatasetVersions,
    change: DagDiff,
) -> list[dict[str, Any]]:
    """Invalidations for changed sources that jobs in other DAGs read."""
    lineage = await org.lineage(conn)
    invalidations = []
    for source in compiled.sources:
        columns, dataset = change.regenerated.get(source.name, ()), versions.datasets[source.name]
        if columns == () or not _is_read_elsewhere(lineage, compiled, dataset):
            continue
        there = await load_existing(conn, lineage, dataset)
        invalidations += [
            definition_change(dataset, versions.created[source.name], text, columns=columns)
            for text in lineage.space(dataset).texts(there)
        ]
    return invalidations


def _is_read_elsewhere(lineage: Lineage, compiled: CompiledDag, dataset: UUID) -> bool:
    readers = (lineage.job(edge.job) for edge in lineage.readers(dataset))
    return any(job.dag_name != compiled.name for job in readers)


async def orphaned_partitions(
    conn: Connection, org: OrgContext, compiled: CompiledDag, versions: DatasetVersions
) -> list[dict[str, Any]]:
    """Invalidations for unchanged outputs built from partitions the new version may not produce.

    Partitions of all earlier versions count, as the most recent ones may never have been built.
    """
    lineage = await org.lineage(conn)
    created = {versions.datasets[name] for name in versions.created}
    invalidations = []
    for name in sorted(versions.replaced.keys() - {source.name for source in compiled.sources}):
        parts = await load_former(conn, lineage, versions.datasets[name])
        for edge in lineage.readers(versions.datasets[name]):
            for output in (
                output for output in lineage.job(edge.job).outputs if output not in created
            ):
                made = edge.mapping.down(parts, parts) & await load_known(conn, lineage, output)
                version = lineage.dataset(output).version
                texts = lineage.space(output).texts(made)
                invalidations += [definition_change(output, version, text) for text in texts]
    return invalidations


async def formerly_manual_outputs(
    conn: Connection,
    org: OrgContext,
    previous: CurrentVersion | None,
    compiled: CompiledDag,
    versions: DatasetVersions,
) -> list[dict[str, Any]]:
    """Invalidations for outputs of jobs that were manual in the previous version.

    The outputs have missed upstream changes and new upstream partitions.
    """
    lineage = await org.lineage(conn)
    before = previous.compiled.jobs if previous else ()
    manual = {job.name for job in before if job.activation == "manual"}
    invalidations = []
    for job in compiled.jobs:
        if job.name not in manual or job.activation == "manual":
            continue
        for dataset in map(lineage.dataset_named, job.outputs):
            if dataset.name not in versions.created:
                missing = await _unbuilt(conn, lineage, dataset.id)
                partitions = (None, *lineage.space(dataset.id).texts(missing))
                invalidations += [
                    definition_change(dataset.id, dataset.version, partition)
                    for partition in partitions
                ]
    return invalidations


async def _unbuilt(conn: Connection, lineage: Lineage, dataset: UUID) -> PartitionSet:
    """Load the partitions that a dataset lacks although existing inputs give them."""
    expected = await load_expected(conn, lineage, lineage.producer(dataset))
    return expected - await load_known(conn, lineage, dataset)
