"""Upstream changes without effect on a partition, with the pruned edges."""

from collections.abc import Iterator, Mapping, Sequence
from datetime import datetime
from uuid import UUID

import msgspec

from engine.flow.shared.org_context import OrgContext
from engine.lineage.graph import Lineage
from engine.model.job import Job
from engine.planner import PruningRule, hops_of
from engine.service.queries.invalidations import load_invalidations
from engine.service.queries.pruning import PrunedEdge, contains, pruned_edges
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
    changes = []
    for plan in plans:
        edges = tuple(_pruned(lineage, plan, job, key, jobs, skipped))
        ids = plan.invalidation_ids[:_MAX_INVALIDATIONS]
        invalidations = await load_invalidations(conn, org, ids)
        upstream = next((row for row in invalidations if row.dataset in names), None)
        if edges and upstream:
            changes.append(PrunedChange(upstream.dataset, upstream.reason, plan.created_at, edges))
    return changes


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


def _pruned(
    lineage: Lineage,
    plan: TouchingPlan,
    job: Job,
    key: str,
    upstream: set[str],
    skipped: Mapping[UUID, UUID],
) -> Iterator[PrunedEdge]:
    """Return the edges between a plan and the partition; empty if the partition ran."""
    document = plan.document
    step = next((step for step in document["steps"] if step["name"] == job.name), None)
    if step is None:
        yield from (edge for edge in pruned_edges(document) if edge.job in upstream)
        return
    datasets = list(dict.fromkeys(hop["dataset"] for hop in hops_of(document, step)))
    if not contains(lineage.job_space(job), step["partitions"], key):
        others = ", ".join(step["partitions"][:3])
        yield PrunedEdge(datasets[0], job.name, PruningRule.PARTITIONS, f"it touched {others} only")
    elif plan.id in skipped:
        read = ", ".join(datasets)
        task = str(skipped[plan.id])[-8:]
        detail = f"its inputs from {read} turned out unchanged, so task {task} was skipped"
        yield PrunedEdge(datasets[0], job.name, PruningRule.UNCHANGED, detail)


def _upstream(lineage: Lineage, job: Job) -> tuple[set[str], set[UUID]]:
    """Return the names of a job and all upstream jobs, and the datasets read by any of them."""
    jobs, datasets, unvisited = {job.name}, set[UUID](), [job]
    while unvisited:
        for edge in lineage.inputs(unvisited.pop().id):
            datasets.add(edge.dataset)
            producer = edge.producer
            if producer.name not in jobs:
                jobs.add(producer.name)
                unvisited.append(producer)
    return jobs, datasets
