"""Upstream changes without effect on a partition, with the pruned edges."""

from collections.abc import Collection, Iterator, Mapping, Sequence
from datetime import datetime
from typing import Any
from uuid import UUID

import msgspec

from engine.flow.shared.org_context import OrgContext
from engine.lineage.graph import Lineage
from engine.model.job import Job
from engine.planner import PruningRule, hops_of, partitions_of
from engine.planner.compare import JobName
from engine.service.queries.invalidations import load_invalidations
from engine.service.queries.planned_jobs import load_job_names
from engine.service.queries.pruning import PrunedEdge, pruned_edges, step_contains
from engine.store.database import Connection
from engine.store.rows.plans import TouchingPlan
from engine.store.rows.views import SkippedTask
from engine.store.run import fetch

_MAX_PLANS = 20
_MAX_INVALIDATIONS = 50
_MINUTE = 60_000 << 80
"""A minute in UUIDs of version 7, with milliseconds in the first 48 bits."""


class PrunedChange(msgspec.Struct, frozen=True):
    """An upstream change without effect on the partition, with the pruned edges."""

    dataset: str
    reason: str
    at: datetime
    pruned: tuple[PrunedEdge, ...]


async def pruned_changes(
    conn: Connection, org: OrgContext, lineage: Lineage, job: Job, key: str
) -> list[PrunedChange]:
    """Return recent upstream changes without effect on the partition."""
    jobs, datasets = _upstream(lineage, job)
    plans = await fetch(
        conn,
        "plans.touching",
        TouchingPlan,
        org_id=org.id,
        datasets=list(datasets),
        limit=_MAX_PLANS,
    )
    names = {lineage.dataset(dataset).name for dataset in datasets}
    skipped = await _skipped(conn, org, job, key, [plan.id for plan in plans])
    planned = await load_job_names(conn, _ids(plans, {name for _, name in jobs}))
    changes = []
    for plan in plans:
        document, of_job = plan.document, (job.dag_name, job.name)
        step = next((s for s in document["steps"] if planned.get(s["job"]) == of_job), None)
        if step is None:
            pruned = (e for e in document["pruned"] if planned.get(e.get("job")) in jobs)
            edges = tuple(pruned_edges(pruned))
        else:
            edges = tuple(_unaffected(lineage, plan, step, job, key, skipped.get(plan.id)))
        ids = plan.invalidation_ids[:_MAX_INVALIDATIONS]
        invalidations = await load_invalidations(conn, org, ids)
        upstream = next((row for row in invalidations if row.dataset in names), None)
        if edges and upstream:
            changes.append(PrunedChange(upstream.dataset, upstream.reason, plan.created_at, edges))
    return changes


def _ids(plans: Sequence[TouchingPlan], names: Collection[str]) -> set[str]:
    """Return the ids in documents of jobs with one of the names, of any DAG."""
    return {
        row["job"]
        for plan in plans
        for row in (*plan.document["steps"], *plan.document["pruned"])
        if row.get("name") in names
    }


async def _skipped(
    conn: Connection, org: OrgContext, job: Job, key: str, plans: Sequence[UUID]
) -> dict[UUID, UUID]:
    """Return the skipped task of the partition by plan."""
    rows = await fetch(
        conn,
        "views.skipped_over",
        SkippedTask,
        org_id=org.id,
        dag=job.dag_name,
        job=job.name,
        partition=key,
        plans=list(plans),
        ends=[UUID(int=plan.int + _MINUTE) for plan in plans],
    )
    return {row.plan_id: row.task_id for row in rows}


def _unaffected(
    lineage: Lineage,
    plan: TouchingPlan,
    step: Mapping[str, Any],
    job: Job,
    key: str,
    skipped: UUID | None,
) -> Iterator[PrunedEdge]:
    """Return the edge between a step of the job and the partition; none if the partition ran."""
    datasets = list(dict.fromkeys(hop["dataset"] for hop in hops_of(plan.document, step)))
    if not step_contains(lineage, job, step, key):
        others = ", ".join(partitions_of(step)[:3])
        yield PrunedEdge(datasets[0], job.name, PruningRule.PARTITIONS, f"it touched {others} only")
    elif skipped is not None:
        read, task = ", ".join(datasets), str(skipped)[-8:]
        detail = f"no run changed an input from {read}, so task {task} was skipped"
        yield PrunedEdge(datasets[0], job.name, PruningRule.UNCHANGED, detail)


def _upstream(lineage: Lineage, job: Job) -> tuple[set[JobName], set[UUID]]:
    """Return a job and all upstream jobs by name, and the datasets read by any of them."""
    jobs, datasets, unvisited = {(job.dag_name, job.name)}, set[UUID](), [job]
    while unvisited:
        for edge in lineage.inputs(unvisited.pop().id):
            datasets.add(edge.dataset)
            producer = edge.producer
            if (producer.dag_name, producer.name) not in jobs:
                jobs.add((producer.dag_name, producer.name))
                unvisited.append(producer)
    return jobs, datasets
