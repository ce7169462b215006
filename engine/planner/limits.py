"""Limits of a plan: the blast radius, and the size that can be executed."""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from typing import NamedTuple
from uuid import UUID

from engine.errors import TooManyPartitions
from engine.lineage.graph import Lineage
from engine.model.job import Job
from engine.partitions import PartitionSet, limits
from engine.planner.plan import Plan, Step

MAX_PLANNED = 5_000_000
"""Limit on the partitions of all steps of one plan."""


class LimitExceeded(NamedTuple):
    """Limit exceeded by a plan, in partitions; ``job`` None: the limit of the whole org.

    ``is_quota``: the limit is the org's quota, which no approval lifts.
    """

    job: str | None
    partitions: int
    limit: int
    is_quota: bool = False

    def __str__(self) -> str:
        """Describe the exceeded limit for the approver."""
        owner = "the org" if self.job is None else f"job {self.job}"
        owner = "the quota of the org" if self.is_quota else owner
        where = "in all" if self.job is None else f"of job {self.job}"
        return f"{self.partitions:,} partitions {where}; {owner} allows {self.limit:,} in one plan"


def recomputed_partitions(step: Step, job: Job) -> int:
    """Return the number of partitions recomputed by a step; 1 for a single-run job."""
    return step.partitions.count() if not job.is_single_run else 1


def exceeded_limits(
    plan: Plan,
    lineage: Lineage,
    limit: int | None,
    continued: Mapping[UUID, PartitionSet],
    quota: int | None = None,
) -> Iterator[LimitExceeded]:
    """Yield the limits exceeded by a plan: those of its jobs, and ``limit`` of the whole plan.

    ``quota`` is a limit that no approval lifts. ``continued`` are the partitions of jobs that
    changes may reach after the plan.
    """
    total = 0
    for step in plan.steps:
        job = lineage.job(step.job)
        if limit is None and quota is None and job.blast_radius is None:
            continue
        partitions = recomputed_partitions(step, job)
        if job.id in continued:
            partitions += continued[job.id].count()
        total += partitions
        if job.blast_radius is not None and partitions > job.blast_radius:
            yield LimitExceeded(job.name, partitions, job.blast_radius)
    if limit is not None and total > limit:
        yield LimitExceeded(None, total, limit)
    if quota is not None and total > quota:
        yield LimitExceeded(None, total, quota, is_quota=True)


def check_size(plan: Plan, lineage: Lineage) -> None:
    """Raise TooManyPartitions if a plan is too large to be executed."""
    for dataset, partitions in plan.changed_partitions.items():
        _check_listable(partitions, f"dataset {lineage.dataset(dataset).name!r} changed in")
    total = 0
    for step in plan.steps:
        total += (count := step.partitions.count())
        if count > limits.MAX_KEYS:
            _check_listable(step.partitions, f"job {lineage.job(step.job).name!r} would recompute")
    if total > MAX_PLANNED:
        raise TooManyPartitions(
            f"the plan would recompute {total:,} partitions, and at most {MAX_PLANNED:,} fit into "
            "one plan; invalidate fewer partitions at once"
        )


def _check_listable(partitions: PartitionSet, subject: str) -> None:
    count, most = partitions.count(), limits.MAX_KEYS
    if count > most:
        sample = ", ".join(partitions.space.first_texts(partitions, 3))
        raise TooManyPartitions(
            f"{subject} {count:,} partitions ({sample}), and at most {most:,} can be listed; "
            "invalidate fewer partitions at once, or bound the dimension"
        )
