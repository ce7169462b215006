"""Deploys up to the decision about what they build, and their execution."""

from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass
from uuid import UUID

from engine.flow.deployment.bounded_tasks import trim_tasks
from engine.flow.deployment.builds import invalidations_of
from engine.flow.deployment.changes import Change, find_changes
from engine.flow.deployment.deployment import Deployed, Deployment
from engine.flow.deployment.new_versions import (
    NewVersion,
    lock_tasks,
    make_current,
    write_version,
)
from engine.flow.deployment.restore import Restored, missed_by, restore_all
from engine.flow.deployment.undeploy import record_deploy
from engine.flow.execution.dependents import resolve_dependents, unblock
from engine.flow.execution.ignored_failures import release_all_dependents
from engine.flow.planning.decision import Decision
from engine.flow.planning.estimate import costs
from engine.flow.planning.pending_approval import limits_exceeded
from engine.flow.planning.plan import decide_own, execute_plan
from engine.flow.shared.invalidations import NewInvalidation
from engine.flow.shared.org_context import OrgContext
from engine.lineage.graph import Lineage
from engine.model.dag import DagFile
from engine.model.states import DeployKind
from engine.planner import LimitExceeded
from engine.planner.limits import recomputed_partitions
from engine.store.clock import load_now
from engine.store.database import Connection
from engine.store.rows.tasks import CanceledTask, TaskId
from engine.store.run import execute, fetch


@dataclass(frozen=True, slots=True)
class PreparedDeploy:
    """A deploy before any task is created.

    ``deployed`` are the new DAG versions, current already. ``ended`` are the canceled tasks.
    ``decision`` None: nothing is to be built.
    """

    changes: Sequence[Change]
    restored: Mapping[str, Restored]
    deployed: Sequence[NewVersion]
    ended: Sequence[UUID]
    decision: Decision | None


async def prepare(
    conn: Connection, org: OrgContext, dags: Sequence[DagFile], by: str | None
) -> PreparedDeploy:
    """Make new DAG versions current, and decide what to build.

    Must run in the caller's transaction, under the planning lock. Raises InvalidDag.
    """
    restored = await restore_all(conn, org, [dag.dag for dag in dags])
    changes = await find_changes(conn, org, dags)
    actual = [change for change in changes if not change.is_empty]
    before = await org.lineage(conn) if any(change.diff.changed for change in actual) else None
    await lock_tasks(conn, actual)
    deployed = [await write_version(conn, org, change, before) for change in actual]
    canceled = {new.id: await make_current(conn, org, new, by) for new in deployed}
    await _record_restored(conn, org, restored, deployed, by)
    invalidations: list[NewInvalidation] = []
    ended = [task for tasks in canceled.values() for task in tasks]
    if deployed:
        outside, invalidations = await _changed_lineage(conn, org, before, deployed, canceled)
        ended += outside
    if restored:
        created = {dataset for new in deployed for dataset in new.created}
        invalidations += await missed_by(conn, org, restored, created)
    earlier = [id_ for version in restored.values() for id_ in version.invalidations]
    decision = None
    if invalidations or earlier:
        decision = await decide_own(conn, org, invalidations, earlier)
    return PreparedDeploy(changes, restored, deployed, [task.id for task in ended], decision)


async def _changed_lineage(
    conn: Connection,
    org: OrgContext,
    before: Lineage | None,
    deployed: Sequence[NewVersion],
    canceled: Mapping[UUID, Sequence[CanceledTask]],
) -> tuple[list[CanceledTask], list[NewInvalidation]]:
    """Begin a lineage epoch; return tasks outside of new bounds, and the invalidations raised."""
    await execute(conn, "orgs.bump_epoch", org_id=org.id)
    await execute(conn, "appearances.begin", org_id=org.id)
    lineage, now = await org.lineage(conn), await load_now(conn)
    bounds = {dataset: other for new in deployed for dataset, other in new.bounds.items()}
    outside, of_trimmed = await trim_tasks(conn, lineage, bounds)
    raised = await invalidations_of(conn, before, lineage, deployed, canceled, now)
    return outside, [*raised, *of_trimmed]


async def _record_restored(
    conn: Connection,
    org: OrgContext,
    restored: Mapping[str, Restored],
    deployed: Sequence[NewVersion],
    by: str | None,
) -> None:
    """Record the deploys of restored DAGs that continue with the same version."""
    for name in restored.keys() - {new.compiled.name for new in deployed}:
        version = restored[name].version_id
        await record_deploy(conn, org, name, DeployKind.DEPLOYED, version, version, by)


async def describe(conn: Connection, org: OrgContext, prepared: PreparedDeploy) -> Deployed:
    """Describe a deploy, with the cost of its plan and the limits that it exceeds."""
    ids = {new.compiled.name: new.id for new in prepared.deployed}
    dags = []
    for change in prepared.changes:
        name, current = change.dag.dag, change.previous
        if change.is_given:
            version_id = ids.get(name) or (current.version_id if current else None)
            is_restored = name in prepared.restored
            dags.append(Deployment.of(change, version_id, is_restored=is_restored))
    followed = tuple(change.dag.dag for change in prepared.changes if not change.is_given)
    decision = prepared.decision
    if decision is None:
        return Deployed(tuple(dags), followed, None, {})
    exceeded = [
        *await limits_exceeded(conn, org, decision),
        *_lifted_limits(decision, prepared.changes),
    ]
    return Deployed(
        tuple(dags),
        followed,
        decision,
        await costs(conn, decision),
        tuple(exceeded),
        decision.tasks,
    )


def _lifted_limits(decision: Decision, changes: Sequence[Change]) -> Iterator[LimitExceeded]:
    """Yield the exceeded limits of jobs that the deploy itself lifts."""
    before = {
        (change.before.name, job.name): job.scaling.get("blast_radius")
        for change in changes
        if change.before is not None
        for job in change.before.jobs
    }
    for step in decision.plan.steps:
        job = decision.lineage.job(step.job)
        limit, partitions = before.get((job.dag_name, job.name)), recomputed_partitions(step, job)
        if limit is not None and (job.blast_radius or partitions) > limit and partitions > limit:
            yield LimitExceeded(job.name, partitions, limit)


async def build(conn: Connection, org: OrgContext, prepared: PreparedDeploy, plan_id: UUID) -> int:
    """Execute the plan of a deploy, and release the tasks that waited for a canceled one."""
    if not prepared.deployed:
        return await _execute(conn, org, prepared.decision, plan_id)
    lineage = await org.lineage(conn)
    # The plan may join these tasks, after which they count as checked.
    first_runs = await _block_first_runs(conn, lineage, prepared.deployed)
    tasks = await _execute(conn, org, prepared.decision, plan_id)
    await resolve_dependents(conn, org, lineage, list(prepared.ended))
    await unblock(conn, org, first_runs)
    await release_all_dependents(conn, org)
    return tasks


async def _execute(
    conn: Connection, org: OrgContext, decision: Decision | None, plan_id: UUID
) -> int:
    return 0 if decision is None else (await execute_plan(conn, org, decision, plan_id)).tasks


async def _block_first_runs(
    conn: Connection, lineage: Lineage, deployed: Sequence[NewVersion]
) -> list[UUID]:
    """Return first runs to be checked again, blocked, since ``wait_for`` may have changed.

    Readers in other DAGs are included: they now wait for new, empty dataset versions, or for the
    partitions within other bounds.
    """
    datasets = {dataset for new in deployed for dataset in (*new.created, *new.bounds)}
    readers = {edge.job for dataset in datasets for edge in lineage.readers(dataset)}
    jobs = [*{*readers, *(id_ for new in deployed for id_ in new.jobs.values())}]
    blocked = await fetch(conn, "tasks.block_first_runs", TaskId, jobs=jobs)
    waiting = await fetch(conn, "tasks.lock_waiting_for_inputs", TaskId, jobs=jobs)
    return [row.id for row in (*blocked, *waiting)]
