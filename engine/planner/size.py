"""Limit the size of a plan: its partitions must be listable, task by task."""

from __future__ import annotations

from engine.errors import TooManyPartitions
from engine.lineage.graph import Lineage
from engine.partitions import PartitionSet, limits
from engine.planner.plan import Plan

MAX_PLANNED = 5_000_000
"""Limit on the partitions of all steps of one plan."""


def check_size(plan: Plan, lineage: Lineage) -> None:
    """Raise TooManyPartitions if a plan is too large to be executed."""
    for dataset, partitions in plan.stamps.items():
        _check(partitions, f"dataset {lineage.dataset(dataset).name!r} changed in")
    total = 0
    for step in plan.steps:
        total += (count := step.partitions.count())
        if count > limits.MAX_KEYS:
            _check(step.partitions, f"job {lineage.job(step.job).name!r} would recompute")
    if total > MAX_PLANNED:
        raise TooManyPartitions(
            f"the plan would recompute {total:,} partitions, and at most {MAX_PLANNED:,} fit into "
            "one plan; invalidate fewer partitions at once"
        )


def _check(partitions: PartitionSet, subject: str) -> None:
    count, most = partitions.count(), limits.MAX_KEYS
    if count > most:
        sample = ", ".join(partitions.space.first_texts(partitions, 3))
        raise TooManyPartitions(
            f"{subject} {count:,} partitions ({sample}), and at most {most:,} can be listed; "
            "invalidate fewer partitions at once, or bound the dimension"
        )
