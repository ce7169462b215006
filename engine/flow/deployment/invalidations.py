"""Invalidations raised by a deploy, apart from those for new dataset versions."""

from collections.abc import Collection, Sequence
from datetime import datetime
from uuid import UUID

from engine.flow.deployment.new_versions import NewVersion
from engine.flow.execution.unverified import mark_partly_written
from engine.flow.shared.appearances import unbuilt
from engine.flow.shared.invalidations import NewInvalidation, definition_change
from engine.flow.shared.load_partitions import (
    load_earlier,
    load_existing,
    load_expected,
    load_known,
)
from engine.flow.shared.pruned_changes import invalidate_pruned
from engine.lineage.columns import ALL_COLUMNS, PRUNED, dirty_columns, propagate_columns
from engine.lineage.graph import Edge, Lineage
from engine.model.job import Job
from engine.model.states import Activation
from engine.partitions import PartitionSet
from engine.store.database import Connection
from engine.store.rows.tasks import CanceledTask


async def canceled_rebuilds(
    conn: Connection, lineage: Lineage, new: NewVersion, canceled: Sequence[CanceledTask]
) -> list[NewInvalidation]:
    """Invalidations for tasks canceled only because the job's tasks now cover different blocks.

    A started attempt may have written some output already.
    """
    first_outputs = {job.name: job.outputs[0] for job in new.compiled.jobs}
    invalidations = []
    for row in canceled:
        if row.job not in first_outputs or first_outputs[row.job] in new.versions.created:
            continue
        dataset = lineage.dataset_named(first_outputs[row.job])
        if row.attempts:
            job = lineage.producer(dataset.id)
            await mark_partly_written(conn, lineage, job.id, row.partitions)
        invalidations += [
            definition_change(dataset.id, dataset.version, partition)
            for partition in row.partitions
        ]
    return invalidations


async def changed_sources_read_by_others(
    conn: Connection, lineage: Lineage, new: NewVersion
) -> list[NewInvalidation]:
    """Invalidations for changed sources that jobs in other DAGs read.

    An invalidation of a whole source without known partitions would announce all of them, so the
    existing outputs of its readers are invalidated instead. Manual jobs run on request only.
    """
    invalidations = []
    for source in new.compiled.sources:
        columns = new.diff.regenerated.get(source.name, ())
        dataset = new.versions.datasets[source.name]
        readers = {
            edge.job: lineage.job(edge.job)
            for edge in lineage.readers(dataset)
            if lineage.job(edge.job).dag_name != new.compiled.name
            and not lineage.job(edge.job).is_manual
            and _reads(edge, columns)
        }
        if columns == () or not readers:
            continue
        if await load_existing(conn, lineage, dataset):
            version = new.versions.created[source.name]
            invalidations.append(definition_change(dataset, version, columns=columns))
            continue
        for job in readers.values():
            affected = lineage.job_space(job).universe
            for output in job.outputs:
                invalidations += await _known_outputs(conn, lineage, job, output, affected)
    return invalidations


def _reads(edge: Edge, columns: Sequence[str] | None) -> bool:
    dirty = dirty_columns(columns)
    return dirty is ALL_COLUMNS or any(
        propagate_columns(mapped, dirty) is not PRUNED for mapped in edge.columns
    )


async def _known_outputs(
    conn: Connection, lineage: Lineage, job: Job, output: UUID, affected: PartitionSet
) -> list[NewInvalidation]:
    """Invalidations for affected known partitions of an output, for all if single-run.

    A single-run job may have read the inputs and built no partition.
    """
    texts: Sequence[str | None] = (None,) if affected else ()
    if not job.is_single_run:
        known = await load_known(conn, lineage, output)
        texts = lineage.space(output).texts(affected & known)
    version = lineage.dataset(output).version
    return [definition_change(output, version, text) for text in texts]


async def outputs_of_earlier_partitions(
    conn: Connection, lineage: Lineage, new: NewVersion, created: Collection[UUID]
) -> list[NewInvalidation]:
    """Invalidations for unchanged outputs built from partitions of earlier dataset versions.

    The new dataset version may not produce these partitions. All earlier versions count, since
    partitions of the previous version may never have been built. ``created`` are the datasets with
    a new version in any DAG of the deploy.
    """
    invalidations = []
    for name in sorted(new.produced_predecessors):
        dataset = new.versions.datasets[name]
        earlier = await load_earlier(conn, lineage, dataset)
        for edge in lineage.readers(dataset):
            job, affected = lineage.job(edge.job), edge.mapping.down(earlier, earlier)
            if job.is_manual:
                continue
            for output in [output for output in job.outputs if output not in created]:
                invalidations += await _known_outputs(conn, lineage, job, output, affected)
    return invalidations


async def previously_manual_outputs(
    conn: Connection, lineage: Lineage, new: NewVersion, now: datetime
) -> list[NewInvalidation]:
    """Invalidations for outputs of jobs that were manual in the previous version.

    The outputs have missed upstream changes and new upstream partitions.
    """
    before = new.previous.compiled.jobs if new.previous else ()
    manual = {job.name for job in before if job.activation == Activation.MANUAL}
    invalidations = []
    for job in new.compiled.jobs:
        if job.name not in manual or job.activation == Activation.MANUAL:
            continue
        for dataset in map(lineage.dataset_named, job.outputs):
            if dataset.name not in new.versions.created:
                expected = await load_expected(conn, lineage, lineage.producer(dataset.id), now)
                missing = expected - await load_known(conn, lineage, dataset.id)
                partitions = (None, *lineage.space(dataset.id).texts(missing))
                invalidations += [
                    definition_change(dataset.id, dataset.version, partition)
                    for partition in partitions
                ]
    return invalidations


async def appearing_otherwise(
    conn: Connection, lineage: Lineage, new: NewVersion, now: datetime
) -> list[NewInvalidation]:
    """Invalidations for partitions that are in being by a changed rule of appearance."""
    invalidations = []
    for compiled_job in new.compiled.jobs:
        if (
            "appears" in new.diff.changed.get(compiled_job.name, ())
            and compiled_job.activation == Activation.REACTIVE
            and compiled_job.outputs[0] not in new.versions.created
        ):
            job = lineage.producer(lineage.dataset_named(compiled_job.outputs[0]).id)
            universe = lineage.job_space(job).universe
            invalidations += await unbuilt(conn, lineage, job, now, universe)
    return invalidations


async def changes_pruned_before(
    conn: Connection, before: Lineage | None, lineage: Lineage, new: NewVersion
) -> list[NewInvalidation]:
    """Invalidations for changes that now reach unchanged outputs, by corrected lineage.

    ``before`` None: no job has changed.
    """
    if before is None:
        return []
    outputs = [
        new.versions.datasets[job.outputs[0]]
        for job in new.compiled.jobs
        if job.name in new.diff.changed
        and job.activation != Activation.SOURCE
        and job.outputs[0] not in new.versions.created
    ]
    return await invalidate_pruned(conn, before, lineage, outputs, source="deploy")
