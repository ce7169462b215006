"""Pruned edges, where a change stops, from the document of a plan."""

from collections.abc import Iterable, Iterator, Mapping, Sequence
from typing import Any

import msgspec

from engine.errors import InvalidPartition
from engine.partitions import PartitionSpace
from engine.planner import PruningRule


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
