"""Partitions that a plan does not name, but that its changes may reach along chains."""

from uuid import UUID

from engine.flow.shared.load_partitions import load_known
from engine.lineage.graph import Lineage
from engine.partitions import PartitionSet
from engine.planner import Plan, continued_partitions
from engine.store.database import Connection


async def load_continued(
    conn: Connection, lineage: Lineage, plan: Plan
) -> dict[UUID, PartitionSet]:
    """Return the later partitions that a plan's runs may reach, by job.

    Only jobs that read their own earlier partitions have any; a manual job is not continued.
    """
    continued = {}
    for step in plan.steps if lineage.has_chains else ():
        edge = lineage.self_edge(step.job)
        if edge is None or edge.producer.is_manual or not step.partitions:
            continue
        known = await load_known(conn, lineage, edge.dataset)
        if later := continued_partitions(edge, step.partitions, known):
            continued[step.job] = later
    return continued
