"""Estimate: what the tasks of a plan may take, by what earlier runs of the same jobs took."""

from collections.abc import Collection, Mapping
from dataclasses import dataclass
from uuid import UUID

from engine.flow.draft import Draft
from engine.model.job import Job
from engine.planner.plan import Step
from engine.store.database import Connection
from engine.store.run import Row, fetch

_SAMPLE = 20
"""Partitions of a dataset, the last ones, whose runs are asked; fewer where datasets are many."""
_MOST = 10_000
"""Partitions in all, but one of each dataset at least."""


@dataclass(frozen=True, slots=True)
class Cost:
    """``seconds`` of tasks, one after another, and ``bytes`` written; null: not known."""

    seconds: float | None
    bytes: float | None


@dataclass(frozen=True, slots=True)
class Estimate:
    """The sums of what is known, and of how many jobs it is not."""

    seconds: float
    bytes: float
    unknown_seconds: int
    unknown_bytes: int

    @staticmethod
    def of(costs: Collection[Cost]) -> "Estimate":
        """All together."""
        return Estimate(
            seconds=sum(each.seconds or 0 for each in costs),
            bytes=sum(each.bytes or 0 for each in costs),
            unknown_seconds=sum(each.seconds is None for each in costs),
            unknown_bytes=sum(each.bytes is None for each in costs),
        )


async def costs(conn: Connection, draft: Draft) -> dict[UUID, Cost]:
    """By job: asks the runs behind the last partitions of what the plan would make."""
    jobs = {step.job: draft.lineage.job(step.job) for step in draft.decided.steps}
    datasets = [output for job in jobs.values() for output in job.outputs]
    sample = max(1, min(_SAMPLE, _MOST // max(len(datasets), 1)))
    rows = await fetch(conn, "plans.costs", datasets=datasets, sample=sample)
    known = {row["dataset"]: row for row in rows}
    return {step.job: _cost(step, jobs[step.job], known) for step in draft.decided.steps}


def _cost(step: Step, job: Job, known: Mapping[UUID, Row]) -> Cost:
    """A run makes all outputs, so that its time counts once, and the bytes of each."""
    rows = [known.get(output, {}) for output in job.outputs]
    count = step.partitions.count()
    sizes = [row["bytes"] for row in rows if row.get("bytes") is not None]
    seconds = rows[0].get("seconds")
    return Cost(
        None if seconds is None else seconds * count,
        sum(sizes) * count if len(sizes) == len(rows) else None,
    )
