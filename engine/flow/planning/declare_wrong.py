"""Record produced partitions that invalidations have declared wrong.

The inputs of these partitions show no change, so without this record a lost task would leave no
evidence.
"""

from itertools import islice

from engine.lineage.graph import Lineage
from engine.partitions import PartitionSet
from engine.planner import Plan
from engine.store.database import Connection
from engine.store.run import execute

_AT_ONCE = 100_000
"""Limit of partition keys in one statement."""


async def declare_wrong(conn: Connection, lineage: Lineage, plan: Plan) -> None:
    """Mark existing partitions declared wrong by a plan; a completed run clears the mark."""
    for step in plan.steps:
        wrong = [
            trigger.partitions
            for trigger in step.triggers
            if trigger.edge is None and not trigger.dirty.only_if_stale
        ]
        job = lineage.job(step.job)
        for dataset in map(lineage.dataset, job.outputs if wrong else ()):
            version = {"dataset": dataset.id, "version": dataset.version}
            if job.is_single_run:
                await execute(conn, "stale.declare_single_run_wrong", **version)
                continue
            keys = lineage.space(dataset.id).keys(PartitionSet.union(wrong))
            while part := list(islice(keys, _AT_ONCE)):
                await execute(conn, "stale.declare_wrong", keys=part, **version)
