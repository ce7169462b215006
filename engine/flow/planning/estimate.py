"""Estimate the cost of a plan's tasks from earlier runs of the same jobs."""

from collections import Counter
from collections.abc import Collection, Mapping
from dataclasses import dataclass
from types import MappingProxyType
from uuid import UUID

from engine.flow.planning.decision import Decision
from engine.model.job import Job
from engine.partitions import PartitionSet
from engine.store.database import Connection
from engine.store.rows.plans import PartitionCost
from engine.store.run import fetch

_SAMPLE = 20
"""Latest partitions sampled per dataset; fewer if there are many datasets."""
_MOST = 10_000
"""Limit of partitions sampled in total, but at least one per dataset."""
_NONE: Mapping[UUID, PartitionSet] = MappingProxyType({})


@dataclass(frozen=True, slots=True)
class Cost:
    """Sequential run time of tasks in ``seconds``, and ``bytes`` written; None: unknown."""

    seconds: float | None
    bytes: float | None


@dataclass(frozen=True, slots=True)
class Estimate:
    """Totals of known costs, and the number of jobs with unknown cost."""

    seconds: float
    bytes: float
    unknown_seconds: int
    unknown_bytes: int

    @staticmethod
    def of(costs: Collection[Cost]) -> "Estimate":
        """Return the totals of some costs."""
        return Estimate(
            seconds=sum(cost.seconds or 0 for cost in costs),
            bytes=sum(cost.bytes or 0 for cost in costs),
            unknown_seconds=sum(cost.seconds is None for cost in costs),
            unknown_bytes=sum(cost.bytes is None for cost in costs),
        )


async def costs(
    conn: Connection, decision: Decision, continued: Mapping[UUID, PartitionSet] = _NONE
) -> dict[UUID, Cost]:
    """Estimate costs by job, from the runs that built the latest partitions of its outputs.

    ``continued`` are partitions of jobs that changes may reach after the plan.
    """
    jobs = {step.job: decision.lineage.job(step.job) for step in decision.plan.steps}
    datasets = [output for job in jobs.values() for output in job.outputs]
    sample = max(1, min(_SAMPLE, _MOST // max(len(datasets), 1)))
    rows = await fetch(conn, "plans.costs", PartitionCost, datasets=datasets, sample=sample)
    known = {row.dataset: row for row in rows}
    counts = Counter({step.job: step.partitions.count() for step in decision.plan.steps})
    counts.update({job: partitions.count() for job, partitions in continued.items()})
    return {job: _cost(jobs[job], count, known) for job, count in counts.items()}


def _cost(job: Job, count: int, known: Mapping[UUID, PartitionCost]) -> Cost:
    """Scale average costs: a run builds all outputs, so time counts once, bytes for each output."""
    rows = [known.get(output) for output in job.outputs]
    sizes = [row.bytes for row in rows if row and row.bytes is not None]
    seconds = None if rows[0] is None else rows[0].seconds
    return Cost(
        None if seconds is None else seconds * count,
        sum(sizes) * count if len(sizes) == len(rows) else None,
    )
