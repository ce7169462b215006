"""The blast radius of a plan: how much it recomputes, and whether that is more than allowed."""

from __future__ import annotations

from collections.abc import Iterator
from typing import NamedTuple

from engine.lineage.graph import Lineage
from engine.model.job import Job
from engine.planner.plan import Plan, Step


class Excess(NamedTuple):
    """A limit that a plan goes beyond, in partitions; ``job`` None: that of the whole org."""

    job: str | None
    partitions: int
    limit: int

    def __str__(self) -> str:
        """In words, for whoever decides on it."""
        whose = "the org" if self.job is None else f"job {self.job}"
        where = "in all" if self.job is None else f"of job {self.job}"
        return f"{self.partitions:,} partitions {where}; {whose} allows {self.limit:,} in one plan"


def radius(step: Step, job: Job) -> int:
    """How many partitions a step recomputes; a job that is one unit counts as one."""
    return step.partitions.count() if not job.is_unit else 1


def excesses(plan: Plan, lineage: Lineage, limit: int | None) -> Iterator[Excess]:
    """The limits that a plan goes beyond: ``limit`` for all of it, and those of its jobs."""
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
