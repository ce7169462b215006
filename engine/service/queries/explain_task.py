"""Causes of a task: the path from the changed data to the task, edge by edge."""

from collections.abc import Iterable, Iterator, Mapping, Sequence
from contextlib import suppress
from typing import Any
from uuid import UUID

import msgspec

from engine.errors import InvalidInput, InvalidPartition, UnknownName
from engine.flow.shared.org_context import OrgContext
from engine.flow.shared.pauses import load_pauses
from engine.lineage.graph import Edge, Lineage
from engine.model.states import Role, TaskStatus
from engine.planner import path_to
from engine.service.caller import Caller, requires
from engine.service.ids import plan_id, task_id
from engine.service.masking import HIDDEN
from engine.service.queries.attempts import AttemptSummary, summaries
from engine.service.queries.invalidations import InvalidationRow, load_invalidations
from engine.service.queries.planned_jobs import load_job_names
from engine.service.queries.tasks import TaskRow, WholeTask
from engine.service.service import Service
from engine.service.visibility import Visibility
from engine.store.database import Connection
from engine.store.rows.pauses import Pause
from engine.store.rows.plans import StoredPlan
from engine.store.rows.tasks import BlockingTask, RecordedInput
from engine.store.run import fetch

_MAX_PLANS = 5
_MAX_INVALIDATIONS = 10
_NO_JOB = ("", "")


class PathHop(msgspec.Struct, frozen=True):
    """An edge of a path: ``dirty`` partitions of ``dataset`` triggered ``partitions`` of ``job``.

    Restricted to the partitions of the task, if the lineage is unchanged since the plan.
    ``columns`` is null for all; ``mapping`` is "itself" if the job's own output was invalidated.
    """

    dataset: str
    dirty: tuple[str, ...]
    columns: tuple[str, ...] | None
    mapping: Any
    job: str
    partitions: tuple[str, ...]


class Cause(msgspec.Struct, frozen=True):
    """A plan with the task: invalidations, and the path from the invalidations to the task.

    ``decided_by`` is the person who applied or approved the plan, if any.
    """

    plan_id: UUID
    decided_by: str | None
    invalidations: tuple[InvalidationRow, ...]
    more_invalidations: int
    path: tuple[PathHop, ...]


class Blocker(msgspec.Struct, frozen=True):
    """An upstream task, finished or not, with outputs read by the task."""

    id: UUID
    job: str
    block_key: str
    status: TaskStatus
    outcome: str | None
    error_message: str | None


class ExplainedTask(msgspec.Struct, frozen=True):
    """A task with causes, the newest plan first, and ``blockers``, finished or not.

    ``inputs`` maps ``dataset/partition`` to the content version read by the run. ``pause`` is the
    pause of the job that keeps a queued task from being claimed. ``attempts`` are those recorded,
    in order.
    """

    task: TaskRow
    row_filters: tuple[Any, ...]
    causes: tuple[Cause, ...]
    more_causes: int
    blockers: tuple[Blocker, ...]
    inputs: Mapping[str, str | None]
    pause: Pause | None
    attempts: tuple[AttemptSummary, ...]


@requires(Role.READER)
async def explain_task(caller: Caller, service: Service, task: str) -> ExplainedTask:
    """Explain a task, by the id or its ending. Raises InvalidInput, UnknownName."""
    async with service.snapshot(caller) as (conn, org):
        visible = await service.visibility(caller, conn, org)
        lineage = await org.lineage(conn)
        if lineage.has_dataset_named(task) and task not in visible.dataset_names:
            raise InvalidInput(f"{task!r} is a dataset: name a partition as well, or '*'")
        try:
            id_ = await task_id(conn, org, task, visible)
        except UnknownName:
            await _refuse_plan(conn, org, task, visible)
            raise
        return await _explain(conn, org, id_, visible)


async def _refuse_plan(conn: Connection, org: OrgContext, text: str, visible: Visibility) -> None:
    """Raise InvalidInput if an id is that of a plan."""
    with suppress(UnknownName):
        await plan_id(conn, org, text, visible)
        raise InvalidInput(f"{text} is a plan, not a task: see 'knockon plans show {text}'")


async def _explain(
    conn: Connection, org: OrgContext, task: UUID, visible: Visibility
) -> ExplainedTask:
    (row,) = await fetch(conn, "tasks.by_id", WholeTask, org_id=org.id, id=task)
    lineage, pauses = await org.lineage(conn), await load_pauses(conn, org)
    newest = row.plan_ids[::-1][:_MAX_PLANS]
    plans = await fetch(conn, "plans.by_ids", StoredPlan, org_id=org.id, ids=newest)
    return ExplainedTask(
        task=row.task,
        row_filters=tuple(row.row_filters),
        causes=tuple(
            [
                _masked(await _cause(conn, org, lineage, row, plan), visible)
                for plan in reversed(plans)
            ]
        ),
        more_causes=len(row.plan_ids) - len(plans),
        blockers=tuple(
            [
                _blocker(row, visible)
                for row in await fetch(conn, "tasks.blockers", BlockingTask, id=task)
            ]
        ),
        inputs={
            _input_name(read, visible): (
                None if read.input_version is None else read.input_version.isoformat()
            )
            for read in await fetch(conn, "tasks.inputs", RecordedInput, id=task)
        },
        pause=pauses.of_job(row.dag_name, row.job) if row.status == TaskStatus.QUEUED else None,
        attempts=tuple(await summaries(conn, org, task)),
    )


def _blocker(row: BlockingTask, visible: Visibility) -> Blocker:
    if f"{row.dag_name}.{row.job}" in visible.job_names:
        return Blocker(UUID(int=0), HIDDEN, HIDDEN, row.status, None, None)
    return Blocker(row.id, row.job, row.block_key, row.status, row.outcome, row.error_message)


def _input_name(read: RecordedInput, visible: Visibility) -> str:
    is_hidden = read.dataset in visible.dataset_names
    return HIDDEN if is_hidden else f"{read.dataset}/{read.input_partition_key}"


def _masked(cause: Cause, visible: Visibility) -> Cause:
    """Leave out invalidations of hidden datasets, which count as further ones."""
    shown = tuple(row for row in cause.invalidations if row.dataset not in visible.dataset_names)
    more = cause.more_invalidations + len(cause.invalidations) - len(shown)
    return msgspec.structs.replace(cause, invalidations=shown, more_invalidations=more)


async def _cause(
    conn: Connection, org: OrgContext, lineage: Lineage, task: WholeTask, plan: StoredPlan
) -> Cause:
    hops = await _hops(conn, plan.document, task)
    ids = [UUID(id_) for id_ in hops[-1]["invalidations"]] if hops else plan.invalidation_ids
    invalidations = await load_invalidations(conn, org, ids[:_MAX_INVALIDATIONS])
    edges = await _edges(conn, lineage, hops)
    path = tuple(_path(zip(hops, edges, strict=True), task.partitions))
    more = len(ids) - len(invalidations)
    return Cause(plan.id, plan.decided_by, tuple(invalidations), more, path[::-1])


async def _hops(
    conn: Connection, document: Mapping[str, Any], task: WholeTask
) -> list[dict[str, Any]]:
    """Return the path to the job of the task, whose id a later deploy may have changed.

    A job without a DAG counts as that of the task: its DAG version was removed since.
    """
    ids = [step["job"] for step in document["steps"] if step["name"] == task.job]
    names, own = await load_job_names(conn, ids), (task.dag_name, task.job)
    of_job = (id_ for id_ in ids if names.get(id_, own) == own)
    try:
        return path_to(document, next(of_job, str(task.job_id)))
    except UnknownName:
        return []


async def _edges(
    conn: Connection, lineage: Lineage, hops: Sequence[Mapping[str, Any]]
) -> list[Edge | None]:
    """Return the edges of the hops in the current lineage, None if they no longer exist.

    Jobs of removed DAG versions are found by their names alone.
    """
    names = await load_job_names(conn, [hop["job"] for hop in hops])
    inputs = {(job.dag_name, job.name): lineage.inputs(job.id) for job in lineage.order}
    by_name = {job.name: (job.dag_name, job.name) for job in lineage.order}
    edges: list[Edge | None] = []
    for hop in hops:
        job = names.get(hop["job"], by_name.get(hop["name"], _NO_JOB))
        read = (edge for edge in inputs.get(job, ()) if edge.input.name == hop["dataset"])
        edges.append(next(read, None))
    return edges


def _path(
    hops: Iterable[tuple[Mapping[str, Any], Edge | None]], keys: Sequence[str]
) -> Iterator[PathHop]:
    """Restrict the hops, nearest first, to the inputs of the task's partitions."""
    partitions = tuple(keys)
    for hop, edge in hops:
        dirty = tuple(hop["dirty"])
        if edge is not None:
            dirty = _inputs(edge, dirty, partitions) or dirty
        yield PathHop(
            dataset=hop["dataset"],
            dirty=dirty,
            columns=None if hop["columns"] is None else tuple(hop["columns"]),
            mapping=hop["mapping"],
            job=hop["name"],
            partitions=partitions,
        )
        partitions = dirty


def _inputs(edge: Edge, dirty: Sequence[str], partitions: Sequence[str]) -> tuple[str, ...]:
    """Return the dirty input partitions of the partitions, none for an older partitioning."""
    try:
        inputs = edge.mapping.source.from_keys(dirty)
        outputs = edge.mapping.target.from_keys(partitions)
    except InvalidPartition:
        return ()
    return tuple(edge.mapping.source.texts(edge.mapping.up(outputs, inputs) & inputs))
