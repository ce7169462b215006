"""Chains: the partitions of a dataset that read earlier ones of the same dataset."""

from __future__ import annotations

from engine.partitions.mapping.mapping import Mapping
from engine.partitions.mapping.relation import Overlap, Same


def chained_window(mapping: Mapping) -> tuple[int, int]:
    """Return the first and the last offset of the earlier partitions that each partition reads.

    ``mapping`` has a chained dimension.
    """
    (relation,) = (
        link.relation for link in mapping.links.links if isinstance(link.relation, Overlap)
    )
    return relation.first, relation.last


def chained_dimension(mapping: Mapping) -> int | None:
    """Return the index of the dimension in which a dataset reads its own earlier partitions.

    None, unless each partition reads only earlier ones, in one time or range dimension, and every
    other dimension is mapped to itself.
    """
    links = mapping.links.links
    if mapping.takes_last or len(links) != len(mapping.target.dimensions):
        return None
    if not all(
        link.source == link.target and isinstance(link.relation, Same | Overlap) for link in links
    ):
        return None
    windows = {
        link.target: link.relation.last for link in links if isinstance(link.relation, Overlap)
    }
    return next((i for i, last in windows.items() if last < 0 and len(windows) == 1), None)
