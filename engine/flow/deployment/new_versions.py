"""New DAG versions: written by a deploy with their jobs and dataset versions, and made current.

Unfinished tasks of unchanged jobs go on. Those of changed jobs are canceled, because the new
dataset versions are built from scratch.
"""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Any
from uuid import UUID

import msgspec
from psycopg.types.json import Jsonb

from engine.flow.deployment.bounds import OtherBounds, load_other_bounds, move_bounds
from engine.flow.deployment.changes import Change
from engine.flow.deployment.columns import write_columns
from engine.flow.deployment.current_versions import CurrentVersion
from engine.flow.deployment.dataset_versions import DatasetVersions
from engine.flow.deployment.undeploy import record_deploy
from engine.flow.ingestion.schedules import restart
from engine.flow.shared.org_context import OrgContext
from engine.lineage.compiled import CompiledDag, CompiledJob
from engine.lineage.diff import DagDiff
from engine.lineage.graph import Lineage
from engine.lineage.schedules import changed_schedules
from engine.lineage.version_file import storable_text
from engine.model.scaling import max_partitions_per_run, priority
from engine.model.states import DeployKind, ExecutionStrategy
from engine.store.database import Connection
from engine.store.ids import new_id
from engine.store.rows.dags import DagVersionId, NamedId
from engine.store.rows.tasks import CanceledTask
from engine.store.run import execute, fetch

_SUPERSEDED = "superseded: its job was changed or removed by a deploy"


@dataclass(frozen=True, slots=True)
class NewVersion:
    """A DAG version that a deploy makes current, in place of ``previous``.

    ``jobs`` are ids by name. ``bounds`` are, by dataset, those changed by the deploy.
    """

    id: UUID
    previous: CurrentVersion | None
    compiled: CompiledDag
    diff: DagDiff
    jobs: Mapping[str, UUID]
    versions: DatasetVersions
    bounds: Mapping[UUID, OtherBounds]

    @property
    def created(self) -> set[UUID]:
        """Return the datasets with a new version."""
        return {self.versions.datasets[name] for name in self.versions.created}

    @property
    def produced_predecessors(self) -> dict[str, UUID]:
        """Return the replaced versions of datasets that jobs produce, by name."""
        sources = {source.name for source in self.compiled.sources}
        predecessors = self.versions.predecessors
        return {name: id_ for name, id_ in predecessors.items() if name not in sources}


async def write_version(
    conn: Connection, org: OrgContext, change: Change, before: Lineage | None
) -> NewVersion:
    """Write a DAG version, its jobs and its new dataset versions.

    ``before`` is the lineage until now; None if no job has changed.
    """
    if others := changed_schedules(change.before, change.compiled):
        await restart(conn, org, others)
    compiled, previous = change.compiled, change.previous
    version_id = await _insert_version(conn, org.id, compiled, storable_text(change.dag))
    jobs = await _insert_jobs(conn, org.id, version_id, compiled)
    versions = await DatasetVersions.make(conn, org.id, version_id, previous, compiled, change.diff)
    bounds = await load_other_bounds(conn, before, previous, compiled, versions)
    return NewVersion(version_id, previous, compiled, change.diff, jobs, versions, bounds)


async def lock_tasks(conn: Connection, changes: Sequence[Change]) -> None:
    """Lock the unfinished tasks of changed DAGs at once, in the order of completions.

    Later statements lock tasks job by job.
    """
    jobs = [id_ for change in changes for id_ in (await _jobs(conn, change.previous)).values()]
    await execute(conn, "tasks.lock_unfinished_of_jobs", jobs=jobs)


async def make_current(
    conn: Connection, org: OrgContext, new: NewVersion, by: str | None
) -> list[CanceledTask]:
    """Replace the current version of a DAG by a written one; return the canceled tasks."""
    await _keep_config_hashes(conn, new)
    await write_columns(conn, org.id, new.previous, new.compiled, new.versions, new.jobs)
    name = new.compiled.name
    await execute(conn, "dags.set_current", org_id=org.id, dag_name=name, dag_version_id=new.id)
    before_id = new.previous.version_id if new.previous else None
    await record_deploy(conn, org, name, DeployKind.DEPLOYED, new.id, before_id, by)
    canceled = await _retain_tasks(conn, new)
    await move_bounds(conn, new.bounds)
    return canceled


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


async def _keep_config_hashes(conn: Connection, new: NewVersion) -> None:
    """Give jobs that keep their outputs the hashes recorded with these, of an earlier release."""
    if new.previous is not None:
        created = new.versions.created.keys()
        kept = [job.name for job in new.compiled.jobs if created.isdisjoint(job.outputs)]
        ids = {"previous": new.previous.version_id, "version": new.id}
        await execute(conn, "dags.keep_config_hashes", names=kept, **ids)


async def _retain_tasks(conn: Connection, new: NewVersion) -> list[CanceledTask]:
    """Move unfinished tasks and cursors of retained jobs to the new job rows; cancel other tasks.

    A job is retained if its task size and the versions of its outputs are unchanged. Returns the
    canceled tasks.
    """
    previous = new.previous
    if previous is None:
        return []
    old = await _jobs(conn, previous)
    sizes = {job.name: _size(job) for job in previous.compiled.jobs}
    retained = [
        job
        for job in new.compiled.jobs
        if (job.name, _size(job)) in sizes.items()
        and not set(job.outputs) & new.versions.created.keys()
    ]
    pairs = {
        "old": [old[job.name] for job in retained],
        "new": [new.jobs[job.name] for job in retained],
    }
    priorities = [priority(job.scaling) for job in retained]
    await execute(conn, "tasks.repoint", priorities=priorities, **pairs)
    # A version that is deployed again may have cursors from the time before.
    await execute(conn, "cursors.delete", jobs=list(new.jobs.values()))
    await execute(conn, "cursors.repoint", **pairs)
    names = {job.name for job in retained}
    others = [job for name, job in old.items() if name not in names]
    return await fetch(
        conn, "tasks.cancel_of_jobs", CanceledTask, jobs=others, ids=None, outcome=_SUPERSEDED
    )


async def _jobs(conn: Connection, version: CurrentVersion | None) -> dict[str, UUID]:
    """Fetch the ids of a version's jobs by name."""
    if version is None:
        return {}
    rows = await fetch(conn, "dags.jobs_of_version", NamedId, dag_version_id=version.version_id)
    return {row.name: row.id for row in rows}


def _size(job: CompiledJob) -> int | None:
    """Return the number of partitions per task; None for a single-run job."""
    if job.execution_strategy != ExecutionStrategy.PER_PARTITION:
        return None
    return max_partitions_per_run(job.scaling)
