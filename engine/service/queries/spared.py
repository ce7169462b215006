"""Upstream changes that did not reach a partition, with the edges and rules that stopped them."""

from collections.abc import Iterator, Mapping, Sequence
from datetime import datetime
from uuid import UUID

import msgspec

from engine.flow.shared.org_context import OrgContext
from engine.lineage.graph import Lineage
from engine.model.job import Job
from engine.planner import hops_of
from engine.service.queries.invalidations import load_invalidations
from engine.service.queries.pruning import PrunedEdge, holds, pruned_edges
from engine.store.database import Connection
from engine.store.run import Row, fetch

_MOST_PLANS = 20
_MOST_INVALIDATIONS = 50
_A_MINUTE = 60_000 << 80
"""A minute in UUIDs of version 7, whose first 48 bits count milliseconds."""


class Spared(msgspec.Struct, frozen=True):
    """An upstream change that did not reach the partition, with the edges that stopped it."""

    dataset: str
    reason: str
    at: datetime
    pruned: tuple[PrunedEdge, ...]


async def spared(
    conn: Connection, org: OrgContext, lineage: Lineage, job: Job, key: str
) -> list[Spared]:
    """Return recent upstream changes that did not reach the partition."""
    jobs, datasets = _upstream(lineage, job)
    plans = await fetch(
        conn, "plans.touching", org_id=org.id, datasets=list(datasets), limit=_MOST_PLANS
    )
    names = {lineage.dataset(each).name for each in datasets}
    skipped = await _skipped(conn, org, job, key, [plan["id"] for plan in plans])
    found = []
    for plan in plans:
        why = tuple(_why_spared(lineage, plan, job, key, jobs, skipped))
        invalidations = await load_invalidations(
            conn, org, plan["invalidation_ids"][:_MOST_INVALIDATIONS]
        )
        invalidation = next((each for each in invalidations if each.dataset in names), None)
        if why and invalidation:
            found.append(Spared(invalidation.dataset, invalidation.reason, plan["created_at"], why))
    return found


async def _skipped(
    conn: Connection, org: OrgContext, job: Job, key: str, plans: Sequence[UUID]
) -> dict[UUID, UUID]:
    """Return by plan the skipped task of the partition."""
    rows = await fetch(
        conn,
        "views.skipped_over",
        org_id=org.id,
        dag=job.dag_name,
        job=job.name,
        partition=key,
        plans=list(plans),
        ends=[UUID(int=each.int + _A_MINUTE) for each in plans],
    )
    return {row["plan_id"]: row["task_id"] for row in rows}


def _why_spared(
    lineage: Lineage,
    plan: Row,
    job: Job,
    key: str,
    upstream: set[str],
    skipped: Mapping[UUID, UUID],
) -> Iterator[PrunedEdge]:
    """Return the edges that kept a plan from the partition; none if it reached the partition."""
    document = plan["document"]
    step = next((each for each in document["steps"] if each["name"] == job.name), None)
    if step is None:
        yield from (each for each in pruned_edges(document) if each.job in upstream)
        return
    datasets = list(dict.fromkeys(hop["dataset"] for hop in hops_of(document, step)))
    if not holds(lineage.job_space(job), step["partitions"], key):
        touched = ", ".join(step["partitions"][:3])
        yield PrunedEdge(datasets[0], job.name, "partitions", f"it touched {touched} only")
    elif plan["id"] in skipped:
        read = ", ".join(datasets)
        task = str(skipped[plan["id"]])[-8:]
        detail = f"what it reads of {read} came out unchanged, so task {task} was skipped"
        yield PrunedEdge(datasets[0], job.name, "unchanged", detail)


def _upstream(lineage: Lineage, job: Job) -> tuple[set[str], set[UUID]]:
    """Return the names of a job and all upstream jobs, and the datasets that they read."""
    jobs, datasets, left = {job.name}, set[UUID](), [job]
    while left:
        for edge in lineage.inputs(left.pop().id):
            datasets.add(edge.dataset)
            producer = edge.producer
            if producer.name not in jobs:
                jobs.add(producer.name)
                left.append(producer)
    return jobs, datasets
