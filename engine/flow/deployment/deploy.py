"""Deploy DAG files: create current DAG versions, with new versions of changed datasets.

A deploy is one transaction under the planning lock, with one plan for all of its DAGs.
"""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field, replace
from uuid import UUID

from psycopg import Rollback

from engine.flow.deployment.bounded_tasks import trim_tasks
from engine.flow.deployment.builds import invalidations_of
from engine.flow.deployment.changes import Change, find_changes
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
from engine.flow.planning.estimate import Cost, costs
from engine.flow.planning.pending_approval import limits_exceeded
from engine.flow.planning.plan import decide_own, execute_plan
from engine.flow.shared.invalidations import NewInvalidation
from engine.flow.shared.org_context import OrgContext
from engine.lineage.diff import DagDiff
from engine.lineage.graph import Lineage
from engine.lineage.growth import Texts, entering, leaving
from engine.model.dag import DagFile
from engine.model.states import DeployKind
from engine.planner import LimitExceeded
from engine.store.clock import load_now
from engine.store.database import Connection
from engine.store.ids import new_id
from engine.store.orgs import lock_planning
from engine.store.rows.tasks import CanceledTask, TaskId
from engine.store.run import execute, fetch


@dataclass(frozen=True, slots=True)
class Deployment:
    """Deploy of a DAG, or its preview: the DAG version, and its differences from the previous one.

    ``entering`` and ``leaving`` have, by dataset, the texts of partitions added and removed by
    other bounds or keys. ``grown`` are the entering partitions of sources; data already in these
    must be invalidated by hand. ``is_restored``: the DAG was undeployed, and continues from its
    dataset versions.
    """

    dag_name: str
    version_id: UUID | None
    diff: DagDiff
    grown: Texts = field(default_factory=dict)
    entering: Texts = field(default_factory=dict)
    leaving: Texts = field(default_factory=dict)
    is_restored: bool = False

    @staticmethod
    def of(change: Change, version_id: UUID | None, *, is_restored: bool) -> "Deployment":
        """Describe a change of a DAG."""
        before, now = change.before, change.compiled
        entered, sources = entering(before, now), {each.name for each in now.sources}
        return Deployment(
            now.name,
            version_id,
            change.diff,
            grown={name: texts for name, texts in entered.items() if name in sources},
            entering=entered,
            leaving=leaving(before, now),
            is_restored=is_restored,
        )


@dataclass(frozen=True, slots=True)
class Deployed:
    """Result or preview of a deploy: its DAGs, and everything to be built, also by other DAGs.

    ``followed`` are other DAGs, deployed again because their SQL now reads different columns of
    these, or their inputs have other bounds. ``decision`` None: nothing is to be built. ``costs``
    are by job.
    """

    dags: tuple[Deployment, ...]
    followed: tuple[str, ...]
    decision: Decision | None
    costs: Mapping[UUID, Cost]
    exceeded_limits: tuple[LimitExceeded, ...] = ()
    tasks: int = 0


@dataclass(frozen=True, slots=True)
class _Prepared:
    """A deploy with current DAG versions, before any task is created; ``ended`` were canceled."""

    changes: Sequence[Change]
    restored: Mapping[str, Restored]
    deployed: Sequence[NewVersion]
    ended: Sequence[UUID]
    decision: Decision | None


async def preview(conn: Connection, org: OrgContext, dags: Sequence[DagFile]) -> Deployed:
    """Preview a deploy, which is rolled back. Raises InvalidDag as the deploy would."""
    async with conn.transaction() as transaction:
        await lock_planning(conn, org.id)
        shown = await _described(conn, org, await _prepare(conn, org, dags, None))
        raise Rollback(transaction)
    return replace(shown, dags=tuple(replace(dag, version_id=None) for dag in shown.dags))


async def deploy(
    conn: Connection, org: OrgContext, dags: Sequence[DagFile], by: str | None = None
) -> Deployed:
    """Deploy DAG files together; unchanged content has no effect.

    ``by`` is the person who deploys. Raises InvalidDag, with nothing written.
    """
    async with conn.transaction():
        await lock_planning(conn, org.id)
        prepared = await _prepare(conn, org, dags, by)
        described = await _described(conn, org, prepared)
        tasks = await _build(conn, org, prepared, new_id())
    return replace(described, tasks=tasks)


async def _prepare(
    conn: Connection, org: OrgContext, dags: Sequence[DagFile], by: str | None
) -> _Prepared:
    restored = await restore_all(conn, org, [dag.dag for dag in dags])
    changes = await find_changes(conn, org, dags)
    actual = [change for change in changes if not change.is_empty]
    before = await org.lineage(conn) if any(change.diff.changed for change in actual) else None
    await lock_tasks(conn, actual)
    deployed = [await write_version(conn, org, change, before) for change in actual]
    canceled = {new.id: await make_current(conn, org, new, by) for new in deployed}
    await _record_restored(conn, org, restored, deployed, by)
    invalidations: list[NewInvalidation] = []
    ended: list[CanceledTask] = [task for tasks in canceled.values() for task in tasks]
    if deployed:
        await execute(conn, "orgs.bump_epoch", org_id=org.id)
        await execute(conn, "appearances.begin", org_id=org.id)
        lineage, now = await org.lineage(conn), await load_now(conn)
        bounds = {dataset: other for new in deployed for dataset, other in new.bounds.items()}
        outside, of_trimmed = await trim_tasks(conn, lineage, bounds)
        ended += outside
        invalidations = await invalidations_of(conn, before, lineage, deployed, canceled, now)
        invalidations += of_trimmed
    if restored:
        created = {dataset for new in deployed for dataset in new.created}
        invalidations += await missed_by(conn, org, restored, created)
    earlier = [id_ for version in restored.values() for id_ in version.invalidations]
    decision = None
    if invalidations or earlier:
        decision = await decide_own(conn, org, invalidations, earlier)
    return _Prepared(changes, restored, deployed, [task.id for task in ended], decision)


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


async def _described(conn: Connection, org: OrgContext, prepared: _Prepared) -> Deployed:
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
    exceeded = await limits_exceeded(conn, org, decision)
    return Deployed(
        tuple(dags),
        followed,
        decision,
        await costs(conn, decision),
        tuple(exceeded),
        decision.tasks,
    )


async def _build(conn: Connection, org: OrgContext, prepared: _Prepared, plan_id: UUID) -> int:
    """Execute the plan of a deploy, and release the tasks that waited for a canceled one."""
    tasks = 0
    if prepared.decision is not None:
        tasks = (await execute_plan(conn, org, prepared.decision, plan_id)).tasks
    if prepared.deployed:
        lineage = await org.lineage(conn)
        await resolve_dependents(conn, org, lineage, list(prepared.ended))
        await _reevaluate_first_runs(conn, org, lineage, prepared.deployed)
        await release_all_dependents(conn, org)
    return tasks


async def _reevaluate_first_runs(
    conn: Connection, org: OrgContext, lineage: Lineage, deployed: Sequence[NewVersion]
) -> None:
    """Re-evaluate waiting first runs, since ``wait_for`` may have changed.

    Readers in other DAGs are included: they now wait for new, empty dataset versions, or for the
    partitions within other bounds.
    """
    datasets = {dataset for new in deployed for dataset in (*new.created, *new.bounds)}
    readers = {edge.job for dataset in datasets for edge in lineage.readers(dataset)}
    jobs = {id_ for new in deployed for id_ in new.jobs.values()}
    affected = [*jobs, *readers]
    blocked = await fetch(conn, "tasks.block_first_runs", TaskId, jobs=affected)
    waiting = await fetch(conn, "tasks.lock_waiting_for_inputs", TaskId, jobs=affected)
    if blocked or waiting:
        await unblock(conn, org, [row.id for row in (*blocked, *waiting)])
