"""Pruned edges, where a change stops, from the document of a plan."""

from collections.abc import Iterable, Iterator, Mapping, Sequence
from typing import Any

import msgspec

from engine.errors import InvalidPartition
from engine.lineage.graph import Lineage
from engine.model.job import Job
from engine.partitions import PartitionSpace
from engine.planner import PruningRule, partitions_of


class PrunedEdge(msgspec.Struct, frozen=True):
    """A job not affected by a change of a dataset, with the rule and the reason.

    ``job`` is null if the change itself has no effect.
    """

    dataset: str
    job: str | None
    rule: PruningRule
    detail: str


def pruned_edges(pruned: Iterable[Mapping[str, Any]]) -> Iterator[PrunedEdge]:
    """Return each ``pruned`` edge of a document once per reason.

    Another change may pass the same edge.
    """
    rows = (
        PrunedEdge(edge["dataset"], edge.get("name"), edge["rule"], edge["detail"])
        for edge in pruned
    )
    yield from dict.fromkeys(rows)


def contains(space: PartitionSpace, texts: Sequence[str], key: str) -> bool:
    """Return true if a set contains a key; texts of an older partitioning contain none."""
    try:
        return space.from_keys(texts).covers(space.parse(key))
    except InvalidPartition:
        return False


def step_contains(lineage: Lineage, job: Job, step: Mapping[str, Any], key: str) -> bool:
    """Return true if a step of the job recomputes a partition.

    A single-run job recomputes all its partitions, including those found since the plan.
    """
    return job.is_single_run or contains(lineage.job_space(job), partitions_of(step), key)
