"""Restore an undeployed DAG, so that its deploy builds only what has become stale meanwhile."""

from collections.abc import Collection, Sequence
from dataclasses import dataclass
from uuid import UUID

from engine.errors import InvalidDag
from engine.flow.deployment.current_versions import (
    CurrentVersion,
    compile_among,
    load_current_versions,
    load_user_defined,
)
from engine.flow.ingestion.schedules import restart
from engine.flow.planning.pending_work import Verdict, load_pending_work
from engine.flow.shared.invalidations import NewInvalidation, definition_changes
from engine.flow.shared.load_partitions import load_existing, load_expected
from engine.flow.shared.org_context import OrgContext
from engine.flow.shared.stale import stale_partitions
from engine.lineage.compiled import CompiledDag
from engine.lineage.graph import Lineage
from engine.lineage.schedules import changed_schedules
from engine.model.dagfile import reread_dag
from engine.model.job import Job
from engine.model.states import Reason
from engine.planner.first_runs import SINGLE_RUN_KEY
from engine.store.clock import load_now
from engine.store.database import Connection
from engine.store.notifications import INVALIDATIONS, notify
from engine.store.rows.undeploys import ReopenedInvalidation, UndeployedVersion
from engine.store.run import execute, fetch, fetch_one

_SLICE = 1_000
"""Partitions judged at once."""


@dataclass(frozen=True, slots=True)
class Restored:
    """An undeployed version that is current again.

    ``invalidations`` are those by which deploys have planned builds that were not finished.
    """

    version_id: UUID
    invalidations: Sequence[UUID]


async def restore_all(
    conn: Connection, org: OrgContext, dags: Sequence[str]
) -> dict[str, Restored]:
    """Restore the DAGs that can continue, those that others of them read first."""
    restored: dict[str, Restored] = {}
    while True:
        found = {
            dag: version
            for dag in dags
            if dag not in restored and (version := await restore(conn, org, dag)) is not None
        }
        if not found:
            return restored
        restored |= found


async def restorable(conn: Connection, org: OrgContext, dag: str) -> CurrentVersion | None:
    """Return the version of an undeployed DAG from which a deploy continues.

    Returns None if the DAG was not undeployed, or cannot continue: its datasets have newer or no
    versions, or datasets that it reads have other columns or another partitioning.
    """
    row = await fetch_one(conn, "undeploys.undeployed", UndeployedVersion, org_id=org.id, dag=dag)
    if row is None or not row.is_kept:
        return None
    compiled = CompiledDag.from_data(row.content)
    is_unaffected = await _is_unaffected(conn, org, compiled)
    return CurrentVersion(row.id, compiled) if is_unaffected else None


async def restore(conn: Connection, org: OrgContext, dag: str) -> Restored | None:
    """Make the undeployed version of a DAG current again, before a deploy; None: see `restorable`.

    Schedules begin anew: the times since the undeploy do not count. Events not planned before the
    undeploy are left to the planner, with its limits.
    """
    version = await restorable(conn, org, dag)
    if version is None:
        return None
    if schedules := changed_schedules(None, version.compiled):
        await restart(conn, org, schedules)
    ids = {"dag_version_id": version.version_id}
    await execute(conn, "undeploys.restore_current", org_id=org.id, dag=dag, **ids)
    reopened = await fetch(conn, "undeploys.reopen_invalidations", ReopenedInvalidation, **ids)
    await execute(conn, "orgs.bump_epoch", org_id=org.id)
    await notify(conn, INVALIDATIONS, org.id)
    unfinished = [row.id for row in reopened if row.reason == Reason.DEFINITION_CHANGE]
    return Restored(version.version_id, unfinished)


async def _is_unaffected(conn: Connection, org: OrgContext, compiled: CompiledDag) -> bool:
    """Return True if the file of a version still compiles to the same content."""
    if not compiled.file:
        return False
    current = await load_current_versions(conn, org.id)
    try:
        dag = reread_dag(compiled.file)
        again = compile_among(current, [dag], await load_user_defined(conn))
    except InvalidDag:
        return False
    return again[compiled.name].content_hash == compiled.content_hash


async def missed_by(
    conn: Connection, org: OrgContext, dags: Collection[str], created: Collection[UUID]
) -> list[NewInvalidation]:
    """Invalidations for partitions of restored DAGs that became stale meanwhile.

    Partitions left stale by a decision of a person stay stale. New versions of the datasets in
    ``created`` are built as a whole. Unfinished tasks of other DAGs will propagate all of their
    changes, because no task of these DAGs waits for them any more.
    """
    lineage = await org.lineage(conn)
    jobs = [job for job in lineage.order if job.dag_name in dags and not job.is_source]
    producers = {edge.producer.id for job in jobs for edge in lineage.inputs(job.id)}
    await execute(conn, "undeploys.propagate_fully", jobs=list(producers))
    return [
        invalidation
        for job in jobs
        if job.outputs[0] not in created
        for invalidation in await _missed(conn, org, lineage, job)
    ]


async def _missed(
    conn: Connection, org: OrgContext, lineage: Lineage, job: Job
) -> list[NewInvalidation]:
    """Return invalidations of partitions that are stale or in being, without pending work."""
    space, expected = lineage.job_space(job), lineage.job_space(job).empty
    keys = [SINGLE_RUN_KEY]
    if not job.is_single_run:
        existing = await load_existing(conn, lineage, job.outputs[0])
        expected = await load_expected(conn, lineage, job, await load_now(conn)) - existing
        keys = list(space.keys(existing | expected))
    missed = []
    for start in range(0, len(keys), _SLICE):
        part = keys[start : start + _SLICE]
        stale = {key for _, key in await stale_partitions(conn, lineage, [(job, part)])}
        due = [key for key in part if key in stale or expected.covers(space.parse(key))]
        pending = await load_pending_work(conn, org, lineage, job, due)
        missed += [key for key in due if pending.of(key)[0] == Verdict.LOST]
    return definition_changes(lineage, job, missed) if missed else []
