"""Deploy a DAG file: create the current DAG version, with new versions of changed datasets.

A deploy is one transaction under the planning lock. Unfinished tasks of unchanged jobs go on. Those
of changed jobs are canceled, because the new dataset versions are built from scratch.
"""

from collections.abc import Collection, Mapping, Sequence
from dataclasses import dataclass, field, replace
from typing import Any
from uuid import UUID

import msgspec
from psycopg.types.json import Jsonb

from engine.flow.deployment.bounded_tasks import trim_tasks
from engine.flow.deployment.bounds import load_other_bounds, move_bounds
from engine.flow.deployment.columns import write_columns
from engine.flow.deployment.current_versions import (
    CurrentVersion,
    compile_among,
    followers,
    load_current_versions,
    load_user_defined,
)
from engine.flow.deployment.dataset_versions import DatasetVersions
from engine.flow.deployment.invalidations import (
    appearing_otherwise,
    canceled_rebuilds,
    changed_sources_read_by_others,
    changes_pruned_before,
    outputs_of_earlier_partitions,
    previously_manual_outputs,
)
from engine.flow.deployment.other_inputs import of_entering_partitions, of_other_inputs
from engine.flow.deployment.restore import Restored, catch_up, restorable, restore
from engine.flow.deployment.retained import retained
from engine.flow.deployment.sql_code import with_sql_code
from engine.flow.deployment.undeploy import record_deploy
from engine.flow.execution.dependents import resolve_dependents, unblock
from engine.flow.execution.ignored_failures import release_all_dependents
from engine.flow.execution.write_permission import find_conflicts
from engine.flow.ingestion.schedules import restart
from engine.flow.planning.plan import plan_own
from engine.flow.shared.invalidations import NewInvalidation, definition_change
from engine.flow.shared.org_context import OrgContext
from engine.lineage.compiled import CompiledDag, CompiledJob
from engine.lineage.diff import DagDiff, diff
from engine.lineage.growth import Texts, entering, leaving
from engine.lineage.schedules import changed_schedules
from engine.lineage.version_file import storable_text
from engine.model.dag import DagFile
from engine.model.scaling import max_partitions_per_run, priority
from engine.model.states import Activation, DeployKind, ExecutionStrategy
from engine.store.clock import load_now
from engine.store.database import Connection
from engine.store.ids import new_id
from engine.store.orgs import lock_planning
from engine.store.rows.dags import DagVersionId, NamedId
from engine.store.rows.tasks import CanceledTask, TaskId
from engine.store.run import execute, fetch

_SUPERSEDED = "superseded: its job was changed or removed by a deploy"


@dataclass(frozen=True, slots=True)
class Deployment:
    """Result or preview of a deploy: the DAG version, and its differences from the previous one.

    ``entering`` and ``leaving`` have, by dataset, the texts of partitions added and removed by
    other bounds or keys. ``grown`` are the entering partitions of sources; data already in these
    must be invalidated by hand. ``followed`` are other DAGs, redeployed because their SQL now reads
    different columns of this one, or their inputs have other bounds. ``is_restored``: the DAG was
    undeployed, and continues from its dataset versions.
    """

    dag_name: str
    version_id: UUID | None
    diff: DagDiff
    tasks: int = 0
    followed: tuple[str, ...] = ()
    grown: Texts = field(default_factory=dict)
    entering: Texts = field(default_factory=dict)
    leaving: Texts = field(default_factory=dict)
    is_restored: bool = False

    def with_bounds(self, previous: CompiledDag | None, compiled: CompiledDag) -> "Deployment":
        """Add the partitions that enter and leave datasets."""
        entered, sources = entering(previous, compiled), {each.name for each in compiled.sources}
        return replace(
            self,
            grown={name: texts for name, texts in entered.items() if name in sources},
            entering=entered,
            leaving=leaving(previous, compiled),
        )


async def preview(conn: Connection, org: OrgContext, dag: DagFile) -> Deployment:
    """Preview a deploy. Raises InvalidDag as the deploy would."""
    current = await load_current_versions(conn, org.id)
    async with conn.transaction():
        dag = await with_sql_code(conn, current, dag)
    compiled = compile_among(current, dag, await load_user_defined(conn))
    await _check_tables(conn, org, dag, compiled)
    undeployed = await restorable(conn, org, dag.dag)
    previous = undeployed or current.get(dag.dag)
    before = previous.compiled if previous else None
    deployment = Deployment(dag.dag, None, diff(before, compiled)).with_bounds(before, compiled)
    return replace(deployment, is_restored=undeployed is not None)


async def deploy(
    conn: Connection, org: OrgContext, dag: DagFile, by: str | None = None
) -> Deployment:
    """Deploy a DAG file; unchanged content has no effect.

    ``by`` is the person who deploys. Raises InvalidDag, with nothing written.
    """
    async with conn.transaction():
        await lock_planning(conn, org.id)
        restored = await restore(conn, org, dag.dag)
        deployed = await _deploy(conn, org, dag, by)
        if restored is not None:
            deployed = await _continue(conn, org, deployed, restored, by)
        followed = await _follow(conn, org, deployed, by)
    return replace(deployed, followed=tuple(followed))


async def _continue(
    conn: Connection, org: OrgContext, deployed: Deployment, restored: Restored, by: str | None
) -> Deployment:
    """Build what has become stale since the undeploy of a restored DAG."""
    name, version = deployed.dag_name, restored.version_id
    if deployed.version_id == version:
        await record_deploy(conn, org, name, DeployKind.DEPLOYED, version, version, by)
    tasks = await catch_up(conn, org, name, restored)
    return replace(deployed, tasks=deployed.tasks + tasks, is_restored=True)


async def _check_tables(
    conn: Connection, org: OrgContext, dag: DagFile, compiled: CompiledDag
) -> None:
    if problems := await find_conflicts(conn, org.id, dag, compiled):
        raise dag.source_map.error(problems)


async def _follow(
    conn: Connection, org: OrgContext, deployed: Deployment, by: str | None
) -> list[str]:
    """Redeploy, unmodified, other DAGs with SQL over changed columns; return their names."""
    followed = []
    changes = [deployed]
    while changes:
        changed = changes.pop()
        current = await load_current_versions(conn, org.id)
        for dag in followers(current, changed.dag_name, await load_user_defined(conn)):
            changes.append(await _deploy(conn, org, dag, by, changed.diff))
            followed.append(dag.dag)
    return followed


async def _deploy(
    conn: Connection,
    org: OrgContext,
    dag: DagFile,
    by: str | None,
    elsewhere: DagDiff | None = None,
) -> Deployment:
    current = await load_current_versions(conn, org.id)
    dag = await with_sql_code(conn, current, dag)
    compiled = compile_among(current, dag, await load_user_defined(conn))
    if elsewhere is None:  # a redeployed follower keeps its tables
        await _check_tables(conn, org, dag, compiled)
    previous = current.get(dag.dag)
    earlier = previous.compiled if previous else None
    change = diff(earlier, compiled, elsewhere)
    if previous is not None and previous.compiled.content_hash == compiled.content_hash:
        return Deployment(dag.dag, previous.version_id, change)
    before = await org.lineage(conn) if change.changed else None
    if others := changed_schedules(earlier, compiled):
        await restart(conn, org, others)
    version_id = await _insert_version(conn, org.id, compiled, storable_text(dag))
    jobs = await _insert_jobs(conn, org.id, version_id, compiled)
    versions = await DatasetVersions.make(conn, org.id, version_id, previous, compiled, change)
    bounds = await load_other_bounds(conn, before, previous, compiled, versions)
    await _keep_config_hashes(conn, previous, version_id, compiled, versions)
    await write_columns(conn, org.id, previous, compiled, versions, jobs)
    await execute(
        conn, "dags.set_current", org_id=org.id, dag_name=dag.dag, dag_version_id=version_id
    )
    before_id = previous.version_id if previous else None
    await record_deploy(conn, org, dag.dag, DeployKind.DEPLOYED, version_id, before_id, by)
    await execute(conn, "orgs.bump_epoch", org_id=org.id)
    await execute(conn, "appearances.begin", org_id=org.id)
    canceled = await _retain_tasks(conn, previous, compiled, jobs, versions.created)
    await move_bounds(conn, bounds)
    lineage, now = await org.lineage(conn), await load_now(conn)
    outside, of_trimmed = await trim_tasks(conn, lineage, bounds)
    invalidations = [
        *await retained(conn, org, previous, compiled, versions, canceled, now),
        *await canceled_rebuilds(conn, org, compiled, versions, canceled),
        *await changed_sources_read_by_others(conn, org, compiled, versions, change),
        *await outputs_of_earlier_partitions(conn, org, compiled, versions),
        *await previously_manual_outputs(conn, org, previous, compiled, versions, now),
        *await appearing_otherwise(conn, org, compiled, versions, change, now),
        *await changes_pruned_before(conn, org, before, compiled, versions, change),
        *of_trimmed,
        *await of_other_inputs(conn, before, lineage, compiled, versions, bounds),
        *await of_entering_partitions(conn, before, lineage, compiled, versions, bounds, now),
    ]
    tasks = await _build(conn, org, compiled, versions, invalidations)
    await resolve_dependents(conn, org, lineage, [row.id for row in (*canceled, *outside)])
    changed = {*map(versions.datasets.__getitem__, versions.created), *bounds}
    await _reevaluate_first_runs(conn, org, jobs, changed)
    await release_all_dependents(conn, org)
    return Deployment(dag.dag, version_id, change, tasks).with_bounds(earlier, compiled)


async def _insert_version(
    conn: Connection, org_id: UUID, compiled: CompiledDag, file: str | None
) -> UUID:
    (version,) = await fetch(
        conn,
        "dags.insert_version",
        DagVersionId,
        id=new_id(),
        org_id=org_id,
        dag_name=compiled.name,
        yaml_hash=compiled.content_hash,
        content=Jsonb(msgspec.to_builtins(compiled)),
        file=file,
    )
    return version.id


async def _insert_jobs(
    conn: Connection, org_id: UUID, version_id: UUID, compiled: CompiledDag
) -> dict[str, UUID]:
    """Return job ids by name, inserting the rows unless the version was deployed before."""
    rows = await fetch(conn, "dags.jobs_of_version", NamedId, dag_version_id=version_id)
    if not rows:
        await execute(
            conn,
            "dags.insert_jobs",
            org_id=org_id,
            dag_name=compiled.name,
            dag_version_id=version_id,
            rows=Jsonb([_job_row(job) for job in compiled.jobs]),
        )
        rows = await fetch(conn, "dags.jobs_of_version", NamedId, dag_version_id=version_id)
    return {row.name: row.id for row in rows}


def _job_row(job: CompiledJob) -> dict[str, Any]:
    row: dict[str, Any] = msgspec.to_builtins(job)
    return row | {
        "id": new_id(),
        "input_datasets": job.input_datasets,
        "output_datasets": job.outputs,
        "waits_for_inputs": job.waits_for_inputs,
    }


async def _keep_config_hashes(
    conn: Connection,
    previous: CurrentVersion | None,
    version_id: UUID,
    compiled: CompiledDag,
    versions: DatasetVersions,
) -> None:
    """Give jobs that keep their outputs the hashes recorded with these, of an earlier release."""
    if previous is not None:
        kept = [
            job.name for job in compiled.jobs if versions.created.keys().isdisjoint(job.outputs)
        ]
        ids = {"previous": previous.version_id, "version": version_id}
        await execute(conn, "dags.keep_config_hashes", names=kept, **ids)


async def _retain_tasks(
    conn: Connection,
    previous: CurrentVersion | None,
    compiled: CompiledDag,
    jobs: Mapping[str, UUID],
    created: Collection[str],
) -> list[CanceledTask]:
    """Move unfinished tasks and cursors of retained jobs to the new job rows; cancel other tasks.

    A job is retained if its task size and the versions of its outputs are unchanged. Returns the
    canceled tasks.
    """
    if previous is None:
        return []
    rows = await fetch(conn, "dags.jobs_of_version", NamedId, dag_version_id=previous.version_id)
    old = {row.name: row.id for row in rows}
    # All at once, in the order of completions: the statements below lock tasks job by job.
    await execute(conn, "tasks.lock_unfinished_of_jobs", jobs=list(old.values()))
    sizes = {job.name: _size(job) for job in previous.compiled.jobs}
    retained = [
        job
        for job in compiled.jobs
        if (job.name, _size(job)) in sizes.items() and not set(job.outputs) & set(created)
    ]
    pairs = {
        "old": [old[job.name] for job in retained],
        "new": [jobs[job.name] for job in retained],
    }
    priorities = [priority(job.scaling) for job in retained]
    await execute(conn, "tasks.repoint", priorities=priorities, **pairs)
    await execute(conn, "cursors.delete", jobs=list(jobs.values()))
    await execute(conn, "cursors.repoint", **pairs)
    names = {job.name for job in retained}
    others = [job for name, job in old.items() if name not in names]
    return await fetch(
        conn, "tasks.cancel_of_jobs", CanceledTask, jobs=others, ids=None, outcome=_SUPERSEDED
    )


def _size(job: CompiledJob) -> int | None:
    """Return the number of partitions per task; None for a single-run job."""
    if job.execution_strategy != ExecutionStrategy.PER_PARTITION:
        return None
    return max_partitions_per_run(job.scaling)


async def _build(
    conn: Connection,
    org: OrgContext,
    compiled: CompiledDag,
    versions: DatasetVersions,
    further: Sequence[NewInvalidation],
) -> int:
    """Plan new versions of produced datasets, stale as a whole, and further invalidations.

    Of manual jobs, only the partitions of the earlier version are rebuilt (see `retained`).
    """
    reactive = {
        output
        for job in compiled.jobs
        if job.activation == Activation.REACTIVE
        for output in job.outputs
    }
    rebuilds = [
        definition_change(versions.datasets[name], version)
        for name, version in versions.created.items()
        if name in reactive
    ]
    return await plan_own(conn, org, [*rebuilds, *further])


async def _reevaluate_first_runs(
    conn: Connection, org: OrgContext, jobs: Mapping[str, UUID], datasets: Collection[UUID]
) -> None:
    """Re-evaluate waiting first runs, since ``wait_for`` may have changed.

    Readers in other DAGs are included: they now wait for new, empty versions of ``datasets``, or
    for the partitions within other bounds.
    """
    lineage = await org.lineage(conn)
    readers = {edge.job for dataset in datasets for edge in lineage.readers(dataset)}
    affected = [*{*jobs.values(), *readers}]
    blocked = await fetch(conn, "tasks.block_first_runs", TaskId, jobs=affected)
    waiting = await fetch(conn, "tasks.lock_waiting_for_inputs", TaskId, jobs=affected)
    if blocked or waiting:
        await unblock(conn, org, [row.id for row in (*blocked, *waiting)])
