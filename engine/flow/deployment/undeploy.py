"""Undeploy a DAG: its jobs no longer run, and its sources are no longer read.

An undeploy is one transaction under the planning lock. Dataset versions with their evidence are
kept, so that a later deploy of the DAG continues from them (`restore.py`).
"""

from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass
from itertools import groupby
from operator import attrgetter
from uuid import UUID

from psycopg.types.json import Jsonb

from engine.errors import InvalidInput, UnknownName
from engine.flow.deployment.current_versions import CurrentVersion, load_current_versions
from engine.flow.execution.unverified import mark_partly_written
from engine.flow.ingestion.schedules import restart
from engine.flow.shared.invalidations import NewInvalidation, definition_changes
from engine.flow.shared.org_context import OrgContext
from engine.lineage.compiled import CompiledDag
from engine.lineage.graph import Lineage
from engine.lineage.schedules import changed_schedules
from engine.model.states import DeployKind, InvalidationOutcome
from engine.store.database import Connection
from engine.store.orgs import lock_planning
from engine.store.rows.dags import NamedId
from engine.store.rows.tasks import CanceledTask
from engine.store.rows.undeploys import UndeployedVersion, UndeployEffects
from engine.store.run import execute, fetch, fetch_one
from engine.wording import some

_OUTCOME = "its DAG was undeployed"


@dataclass(frozen=True, slots=True)
class Undeployment:
    """Result or preview of an undeploy: what ends with the DAG.

    ``tasks`` are canceled and ``invalidations`` closed. ``topics``, ``endpoints`` and ``schedules``
    of the sources are no longer read, and changes of the captured ``tables`` not ingested.
    """

    dag_name: str
    version_id: UUID
    version: int
    jobs: int
    datasets: tuple[str, ...]
    tasks: int
    invalidations: int
    topics: tuple[str, ...]
    endpoints: tuple[str, ...]
    schedules: tuple[str, ...]
    tables: tuple[str, ...]


async def preview_undeploy(conn: Connection, org: OrgContext, dag: str) -> Undeployment:
    """Preview an undeploy. Raises UnknownName and InvalidInput as the undeploy would."""
    current = await load_current_versions(conn, org.id)
    return await _effects(conn, current, _undeployable(current, dag))


async def undeploy(
    conn: Connection, org: OrgContext, dag: str, by: str | None = None, *, rebuild: bool = False
) -> Undeployment:
    """Remove a DAG from the current versions.

    With ``rebuild``, a later deploy builds all of its datasets anew. Raises UnknownName, or
    InvalidInput if jobs of other DAGs read its datasets.
    """
    async with conn.transaction():
        await lock_planning(conn, org.id)
        current = await load_current_versions(conn, org.id)
        version = _undeployable(current, dag)
        if schedules := changed_schedules(None, version.compiled):
            await restart(conn, org, schedules)
        effects = await _effects(conn, current, version)
        lineage = await org.lineage(conn)
        canceled = await _cancel(conn, version)
        unbuilt = await _unbuilt(conn, lineage, version.compiled, canceled)
        ids = {"dag_version_id": version.version_id}
        await execute(conn, "undeploys.close_invalidations", **ids)
        await execute(conn, "invalidations.insert", org_id=org.id, invalidations=Jsonb(unbuilt))
        await execute(conn, "undeploys.remove_current", org_id=org.id, dag=dag)
        await record_deploy(conn, org, dag, DeployKind.UNDEPLOYED, version.version_id, None, by)
        if rebuild:
            await execute(conn, "undeploys.forget_pins", **ids)
        await execute(conn, "orgs.bump_epoch", org_id=org.id)
    return effects


async def last_undeployed(conn: Connection, org: OrgContext, dag: str) -> CurrentVersion | None:
    """Return the version of an undeployed DAG; None if the DAG is deployed, or never was."""
    row = await fetch_one(conn, "undeploys.undeployed", UndeployedVersion, org_id=org.id, dag=dag)
    return None if row is None else CurrentVersion(row.id, CompiledDag.from_data(row.content))


async def rebuild_later(conn: Connection, org: OrgContext, dag: str) -> None:
    """Have a later deploy of an undeployed DAG build all of its datasets anew."""
    async with conn.transaction():
        await lock_planning(conn, org.id)
        if version := await last_undeployed(conn, org, dag):
            await execute(conn, "undeploys.forget_pins", dag_version_id=version.version_id)


async def record_deploy(
    conn: Connection,
    org: OrgContext,
    dag: str,
    kind: DeployKind,
    version: UUID,
    previous: UUID | None,
    by: str | None,
) -> None:
    """Add an entry to the history of deploys; ``previous`` is the version current until then."""
    await execute(
        conn,
        "versions.record",
        org_id=org.id,
        dag=dag,
        kind=kind,
        dag_version_id=version,
        previous=previous,
        by=by,
    )


def _undeployable(current: Mapping[str, CurrentVersion], dag: str) -> CurrentVersion:
    if dag not in current:
        raise UnknownName(f"there is no DAG {dag!r} deployed in this org: see 'knockon status'")
    readers = sorted(_readers(current, dag))
    if readers:
        raise InvalidInput(
            f"DAG {dag!r} cannot be undeployed, because jobs of other DAGs read its datasets: "
            f"{some(readers, most=10)}; undeploy their DAGs first, or deploy them without the input"
        )
    return current[dag]


def _readers(current: Mapping[str, CurrentVersion], dag: str) -> Iterator[str]:
    """Yield descriptions of the jobs in other DAGs that read datasets of a DAG."""
    outputs = {dataset.name for dataset in current[dag].compiled.datasets}
    for name, other in current.items():
        for job in other.compiled.jobs if name != dag else ():
            for dataset in outputs.intersection(job.input_datasets):
                yield f"{name}.{job.name} reads {dataset}"


async def _effects(
    conn: Connection, current: Mapping[str, CurrentVersion], version: CurrentVersion
) -> Undeployment:
    (counts,) = await fetch(
        conn, "undeploys.effects", UndeployEffects, dag_version_id=version.version_id
    )
    compiled = version.compiled
    others = [other for name, other in current.items() if name != compiled.name]
    topics, endpoints = (
        _sources(version, kind, key).difference(*(_sources(each, kind, key) for each in others))
        for kind, key in (("kafka", "topic"), ("http", "endpoint"))
    )
    return Undeployment(
        dag_name=compiled.name,
        version_id=version.version_id,
        version=counts.number,
        jobs=len(compiled.jobs),
        datasets=tuple(dataset.name for dataset in compiled.datasets),
        tasks=counts.tasks,
        invalidations=counts.invalidations,
        topics=tuple(sorted(topics)),
        endpoints=tuple(sorted(endpoints)),
        schedules=tuple(sorted(changed_schedules(None, compiled))),
        tables=tuple(sorted(_sources(version, "postgres", "table"))),
    )


def _sources(version: CurrentVersion, kind: str, key: str) -> set[str]:
    """Return the topics, endpoints or tables that the sources of a kind name under a key."""
    sources = (job.source for job in version.compiled.jobs)
    return {source[key] for source in sources if source and source["kind"] == kind}


async def _cancel(conn: Connection, version: CurrentVersion) -> list[CanceledTask]:
    jobs = await fetch(conn, "dags.jobs_of_version", NamedId, dag_version_id=version.version_id)
    ids = [row.id for row in jobs]
    return await fetch(
        conn, "tasks.cancel_of_jobs", CanceledTask, jobs=ids, ids=None, outcome=_OUTCOME
    )


async def _unbuilt(
    conn: Connection, lineage: Lineage, compiled: CompiledDag, canceled: Sequence[CanceledTask]
) -> list[NewInvalidation]:
    """Return closed invalidations for the partitions of canceled tasks, for a later deploy.

    Tasks that wait for the result of others are planned with these again, or are due by the
    evidence of their inputs. A started attempt may have written some output already.
    """
    outputs = {job.name: job.outputs[0] for job in compiled.jobs}
    for row in canceled:
        if row.attempts:
            job = lineage.producer(lineage.dataset_named(outputs[row.job]).id)
            await mark_partly_written(conn, lineage, job.id, row.partitions)
    invalidations = []
    by_job = attrgetter("job")
    due = sorted((row for row in canceled if row.must_run), key=by_job)
    for name, tasks in groupby(due, key=by_job):
        job = lineage.producer(lineage.dataset_named(outputs[name]).id)
        keys = (key for row in tasks for key in row.partitions)
        invalidations += definition_changes(lineage, job, keys)
    closed = {"outcome": InvalidationOutcome.NOT_CURRENT}
    return [invalidation | closed for invalidation in invalidations]
