"""Causes of a task: the path from the changed data to the task, edge by edge."""

from collections.abc import Iterator, Mapping, Sequence
from typing import Any
from uuid import UUID

import msgspec

from engine.errors import UnknownName
from engine.flow.shared.org_context import OrgContext
from engine.lineage.graph import Edge, Lineage
from engine.model.states import Role, TaskStatus
from engine.partitions import PartitionSet
from engine.planner import path_to
from engine.service.caller import Caller, requires
from engine.service.ids import task_id
from engine.service.queries.invalidations import InvalidationRow, load_invalidations
from engine.service.queries.tasks import TaskRow, WholeTask
from engine.service.service import Service
from engine.store.database import Connection
from engine.store.rows.plans import StoredPlan
from engine.store.rows.tasks import RecordedInput
from engine.store.run import fetch

_MAX_PLANS = 5
_MAX_INVALIDATIONS = 10


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

    ``inputs`` maps ``dataset/partition`` to the content version read by the run.
    """

    task: TaskRow
    row_filters: tuple[Any, ...]
    causes: tuple[Cause, ...]
    more_causes: int
    blockers: tuple[Blocker, ...]
    inputs: Mapping[str, str | None]


@requires(Role.READER)
async def explain_task(caller: Caller, service: Service, task: str) -> ExplainedTask:
    """Explain a task, by the id or its ending. Raises InvalidInput, UnknownName."""
    async with service.snapshot(caller) as (conn, org):
        return await _explain(conn, org, await task_id(conn, org, task))


async def _explain(conn: Connection, org: OrgContext, task: UUID) -> ExplainedTask:
    (row,) = await fetch(conn, "tasks.by_id", WholeTask, org_id=org.id, id=task)
    lineage = await org.lineage(conn)
    newest = row.plan_ids[::-1][:_MAX_PLANS]
    plans = await fetch(conn, "plans.by_ids", StoredPlan, org_id=org.id, ids=newest)
    return ExplainedTask(
        task=row.task,
        row_filters=tuple(row.row_filters),
        causes=tuple([await _cause(conn, org, lineage, row, plan) for plan in reversed(plans)]),
        more_causes=len(row.plan_ids) - len(plans),
        blockers=tuple(await fetch(conn, "tasks.blockers", Blocker, id=task)),
        inputs={
            f"{read.dataset}/{read.input_partition_key}": (
                None if read.input_version is None else read.input_version.isoformat()
            )
            for read in await fetch(conn, "tasks.inputs", RecordedInput, id=task)
        },
    )


async def _cause(
    conn: Connection, org: OrgContext, lineage: Lineage, task: WholeTask, plan: StoredPlan
) -> Cause:
    hops = _hops(plan.document, task)
    ids = [UUID(id_) for id_ in hops[-1]["invalidations"]] if hops else plan.invalidation_ids
    invalidations = await load_invalidations(conn, org, ids[:_MAX_INVALIDATIONS])
    path = tuple(_path(lineage, hops, task.partitions))
    more = len(ids) - len(invalidations)
    return Cause(plan.id, plan.decided_by, tuple(invalidations), more, path[::-1])


def _hops(document: Mapping[str, Any], task: WholeTask) -> list[dict[str, Any]]:
    """Return the path to the job of the task, by name if a later deploy changed the id."""
    jobs = {step["name"]: step["job"] for step in document["steps"]}
    job = str(task.job_id)
    try:
        return path_to(document, job if job in jobs.values() else jobs.get(task.job, job))
    except UnknownName:
        return []


def _path(
    lineage: Lineage, hops: Sequence[Mapping[str, Any]], keys: Sequence[str]
) -> Iterator[PathHop]:
    """Restrict the hops, nearest first, to the inputs of the task's partitions."""
    partitions = tuple(keys)
    for hop in hops:
        dirty = _inputs(lineage, hop, partitions)
        yield PathHop(
            dataset=hop["dataset"],
            dirty=dirty,
            columns=None if hop["columns"] is None else tuple(hop["columns"]),
            mapping=hop["mapping"],
            job=hop["name"],
            partitions=partitions,
        )
        partitions = dirty


def _inputs(lineage: Lineage, hop: Mapping[str, Any], partitions: Sequence[str]) -> tuple[str, ...]:
    """Return the dirty input partitions of the partitions."""
    edge = _edge(lineage, hop)
    if edge is None:
        return tuple(hop["dirty"])
    dirty = edge.mapping.source.from_keys(hop["dirty"])
    outputs = edge.mapping.target.from_keys(partitions)
    inputs: PartitionSet = edge.mapping.up(outputs, dirty) & dirty
    return tuple(edge.mapping.source.texts(inputs)) or tuple(hop["dirty"])


def _edge(lineage: Lineage, hop: Mapping[str, Any]) -> Edge | None:
    """Return the edge of a hop in the current lineage, if it still exists."""
    edges = (
        edge
        for job in lineage.order
        if job.name == hop["name"]
        for edge in lineage.inputs(job.id)
        if edge.input.name == hop["dataset"]
    )
    return next(edges, None)
