"""The edges at which a change stopped, out of a plan's document."""

from collections.abc import Iterator, Mapping, Sequence
from typing import Any

import msgspec

from engine.errors import InvalidPartition
from engine.partitions import PartitionSpace


class PrunedEdge(msgspec.Struct, frozen=True):
    """A job that a change of a dataset did not reach, by which rule, and why in one line.

    ``job`` null: the change itself came to nothing.
    """

    dataset: str
    job: str | None
    rule: str
    detail: str


def pruned_edges(document: Mapping[str, Any]) -> Iterator[PrunedEdge]:
    """Each edge once for each reason; something else may have passed over it all the same."""
    rows = (
        PrunedEdge(each["dataset"], each.get("name"), each["rule"], each["detail"])
        for each in document["pruned"]
    )
    yield from dict.fromkeys(rows)


def holds(space: PartitionSpace, texts: Sequence[str], key: str) -> bool:
    """Whether a set has a key; texts of an older partitioning count as having it not."""
    try:
        return space.from_keys(texts).covers(space.parse(key))
    except InvalidPartition:
        return False
