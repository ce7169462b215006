"""Continuation of jobs that read their own earlier partitions, partition by partition."""

from collections.abc import Iterator
from uuid import UUID

from engine.flow.shared.invalidations import NewInvalidation, own_invalidation
from engine.flow.shared.load_partitions import load_known_among
from engine.flow.shared.org_context import OrgContext
from engine.lineage.columns import DirtyColumns, reaches
from engine.lineage.graph import Lineage
from engine.model.invalidation import OwnReason
from engine.partitions import PartitionSet
from engine.planner import Plan
from engine.store.database import Connection
from engine.store.notifications import INVALIDATIONS, notify
from engine.store.rows.invalidations import WaitingInvalidations
from engine.store.run import fetch_one


def left_out(lineage: Lineage, plan: Plan, source: str) -> Iterator[NewInvalidation]:
    """Yield invalidations of the partitions that wait for earlier ones of the same job."""
    for step in plan.steps:
        for later in step.later:
            requested = later.partitions & step.requested
            for reason, partitions in (
                (OwnReason.REQUESTED, requested),
                (OwnReason.CONTINUED, later.partitions - requested),
            ):
                yield from _invalidations(
                    lineage, step.job, partitions, reason, source, later.after
                )


async def following(
    conn: Connection, lineage: Lineage, job: UUID, key: str, columns: DirtyColumns, source: str
) -> list[NewInvalidation]:
    """Return an invalidation of the known partitions that read a changed one of the same job.

    None for a manual job, which builds requested partitions only. Partitions left out by a plan
    have an invalidation already.
    """
    edge = lineage.self_edge(job)
    if edge is None or edge.producer.is_manual:
        return []
    if not reaches(edge.columns, columns):
        return []
    reached = edge.mapping.down(lineage.space(edge.dataset).parse(key))
    if reached:
        reached = await load_known_among(conn, lineage, edge.dataset, reached)
    return [*_invalidations(lineage, job, reached, OwnReason.CONTINUED, source)]


def _invalidations(
    lineage: Lineage,
    job: UUID,
    partitions: PartitionSet,
    reason: OwnReason,
    source: str,
    after: str | None = None,
) -> Iterator[NewInvalidation]:
    """Yield an invalidation of the partitions; nothing if there are none."""
    dataset = lineage.dataset(lineage.job(job).outputs[0])
    if texts := partitions.space.texts(partitions):
        where = dataset.id, dataset.version
        yield own_invalidation(*where, texts, reason=reason, source=source, after=after)


async def notify_waiting(conn: Connection, org: OrgContext, lineage: Lineage) -> None:
    """Notify the planner if partitions may have waited for the end of a task."""
    if not lineage.has_chains:
        return
    row = await fetch_one(conn, "invalidations.are_waiting", WaitingInvalidations, org_id=org.id)
    if row is not None and row.waiting:
        await notify(conn, INVALIDATIONS, org.id)
