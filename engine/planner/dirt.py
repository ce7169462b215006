"""What is dirty of a dataset, coalesced so that it stays small on its way down."""

from __future__ import annotations

from collections.abc import Iterable, Sequence
from functools import reduce
from itertools import chain
from operator import or_
from typing import NamedTuple

from engine.lineage.columns import DirtyColumns, widest
from engine.lineage.rows import RowFilter
from engine.partitions import PartitionSet

MOST = 16
"""How many kinds of dirt a dataset may have before columns and rows are widened into one."""

Causes = int
"""A set of invalidations: bit n is the n-th of those being planned."""


class Dirt(NamedTuple):
    """Partitions of a dataset that are dirty alike.

    ``has_changed``: they did so already, outside; otherwise a step before may change them.
    ``has_grown``: rows were added to them, and that is all.
    """

    partitions: PartitionSet
    columns: DirtyColumns
    rows: RowFilter | None
    causes: Causes
    has_changed: bool
    has_grown: bool = False


def coalesce(dirt: Sequence[Dirt]) -> Sequence[Dirt]:
    """Join what is dirty in the same columns and rows; beyond `MOST` kinds, widen."""
    if len(dirt) < 2 or all(each == dirt[0] for each in dirt):
        return dirt[:1]
    kinds: dict[object, list[Dirt]] = {}
    for each in dirt:
        kinds.setdefault((each.has_changed, each.has_grown, each.columns, each.rows), []).append(
            each
        )
    if len(kinds) > MOST:
        kinds = {kind: [d for d in dirt if d.has_changed is kind] for kind in (True, False)}
    return [_joined(alike) for alike in kinds.values() if alike]


def union(sets: Iterable[PartitionSet]) -> PartitionSet:
    """The union of one set or more, by one sort instead of many."""
    first, *rest = sets
    if all(each == first for each in rest):
        return first
    boxes = chain(first.boxes, chain.from_iterable(each.boxes for each in rest))
    return PartitionSet.of(first.space, boxes)


def _joined(alike: Sequence[Dirt]) -> Dirt:
    first = alike[0]
    return Dirt(
        union(each.partitions for each in alike),
        reduce(widest, (each.columns for each in alike)),
        first.rows if all(each.rows == first.rows for each in alike) else None,
        reduce(or_, (each.causes for each in alike)),
        first.has_changed,
        all(each.has_grown for each in alike),
    )
