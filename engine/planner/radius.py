"""Blast radius of a plan: the amount of recomputation, and the exceeded limits."""

from __future__ import annotations

from collections.abc import Iterator
from typing import NamedTuple

from engine.lineage.graph import Lineage
from engine.model.job import Job
from engine.planner.plan import Plan, Step


class Excess(NamedTuple):
    """Limit exceeded by a plan, in partitions; ``job`` None: the limit of the whole org."""

    job: str | None
    partitions: int
    limit: int

    def __str__(self) -> str:
        """Describe the excess for the approver."""
        whose = "the org" if self.job is None else f"job {self.job}"
        where = "in all" if self.job is None else f"of job {self.job}"
        return f"{self.partitions:,} partitions {where}; {whose} allows {self.limit:,} in one plan"


def radius(step: Step, job: Job) -> int:
    """Return the number of partitions recomputed by a step; 1 for a single-run job."""
    return step.partitions.count() if not job.is_unit else 1


def excesses(plan: Plan, lineage: Lineage, limit: int | None) -> Iterator[Excess]:
    """Yield the limits exceeded by a plan: ``limit`` for the whole plan, and its jobs' limits."""
    total = 0
    for step in plan.steps:
        job = lineage.job(step.job)
        if limit is None and job.blast_radius is None:
            continue
        partitions = radius(step, job)
        total += partitions
        if job.blast_radius is not None and partitions > job.blast_radius:
            yield Excess(job.name, partitions, job.blast_radius)
    if limit is not None and total > limit:
        yield Excess(None, total, limit)
