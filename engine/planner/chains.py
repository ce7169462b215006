"""Chains: the partitions of a job that reads its own earlier partitions, built in order.

A chain has the partitions that differ only in the dimension of the window. Of the partitions of a
chain that a plan reaches, only the first gets a task. The later ones wait for an unfinished task of
an earlier partition of the chain, and are planned again when the task ends.
"""

from __future__ import annotations

from bisect import bisect_left
from collections.abc import Iterator
from itertools import product
from typing import NamedTuple

from engine.lineage.graph import Edge
from engine.partitions import Intervals, KeySet, PartitionSet
from engine.partitions.boxes import Box
from engine.partitions.intervals import NEG, POS
from engine.partitions.mapping.chain import chained_dimension, chained_window


class Later(NamedTuple):
    """Partitions of a chain that are planned again after ``after``, the key of an earlier one."""

    after: str
    partitions: PartitionSet


def later_partitions(
    edge: Edge, partitions: PartitionSet, unfinished: PartitionSet
) -> tuple[Later, ...]:
    """Return those of a step's partitions that cannot be built yet, by chain.

    ``edge`` is that of the job's own output. ``unfinished`` are the partitions of the job's
    unfinished tasks: a partition with a task joins it, or gets a second one if it is running.
    """
    space, dimension = partitions.space, chained_dimension(edge.mapping)
    if dimension is None:
        return ()
    busy = dict(_chains(unfinished, dimension))
    later = []
    for chain, reached in _chains(partitions, dimension):
        tasks = busy.get(chain, Intervals())
        if not tasks or _first(reached) < _first(tasks):
            tasks |= Intervals.single(_first(reached))
        if waiting := reached - tasks:
            earlier = tasks & Intervals(((NEG, _first(waiting)),))
            box = _box(chain, dimension, Intervals.single(_last(earlier)))
            (key,) = space.keys(PartitionSet.of(space, [box]))
            waits = PartitionSet.of(space, [_box(chain, dimension, waiting)])
            later.append(Later(key, waits))
    return tuple(later)


def continued_partitions(edge: Edge, partitions: PartitionSet, known: PartitionSet) -> PartitionSet:
    """Return the known partitions that changes of others reach along their chains.

    They get tasks one after the other, each if the run of an earlier one changes its output.
    """
    space, dimension = partitions.space, chained_dimension(edge.mapping)
    if dimension is None:
        return space.empty
    window, known_ordinals = chained_window(edge.mapping), dict(_chains(known, dimension))
    return PartitionSet.union(
        [
            PartitionSet.of(space, [_box(chain, dimension, continued)])
            for chain, changed in _chains(partitions, dimension)
            if chain in known_ordinals
            and (continued := _continued(changed, known_ordinals[chain], window))
        ]
        or [space.empty]
    )


def _continued(changed: Intervals, known: Intervals, window: tuple[int, int]) -> Intervals:
    first, last = window
    reached: list[int] = []
    continued: list[int] = []
    for ordinal in changed | (known & Intervals(((_first(changed), POS),))):
        if ordinal in changed:
            reached.append(ordinal)
            continue
        earliest = bisect_left(reached, ordinal + first)
        if earliest < len(reached) and reached[earliest] <= ordinal + last:
            reached.append(ordinal)
            continued.append(ordinal)
    return Intervals.of((ordinal, ordinal + 1) for ordinal in continued)


def _first(ordinals: Intervals) -> int:
    return ordinals.spans[0][0]


def _last(ordinals: Intervals) -> int:
    return ordinals.spans[-1][1] - 1


def _chains(partitions: PartitionSet, dimension: int) -> Iterator[tuple[Box, Intervals]]:
    """Yield each chain, as a box of single keys in the other dimensions, with its ordinals."""
    chains: dict[Box, Intervals] = {}
    for box in partitions.boxes:
        others = [_singles(part) for i, part in enumerate(box) if i != dimension]
        for chain in product(*others):
            before = chains.get(chain)
            chains[chain] = box[dimension] if before is None else before | box[dimension]
    yield from chains.items()


def _singles(part: Intervals | KeySet) -> list[Intervals | KeySet]:
    if isinstance(part, KeySet):
        return [KeySet.of(key) for key in sorted(part.keys)]
    return [Intervals.single(n) for lo, hi in part.spans for n in range(lo, hi)]


def _box(chain: Box, dimension: int, ordinals: Intervals) -> Box:
    return (*chain[:dimension], ordinals, *chain[dimension:])
