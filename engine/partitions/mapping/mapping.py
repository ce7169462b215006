"""Mapping between the partitions of two datasets, in both directions."""

from __future__ import annotations

from collections.abc import Collection, Sequence
from copy import deepcopy
from dataclasses import dataclass, field
from typing import Any

from engine.partitions.boxes import Box
from engine.partitions.dimension_set import DimensionSet
from engine.partitions.intervals import POS, Intervals
from engine.partitions.key_dimension import StaticDimension
from engine.partitions.keyset import KeySet
from engine.partitions.mapping.infer import infer
from engine.partitions.mapping.link import Links
from engine.partitions.mapping.relation import Overlap, Same
from engine.partitions.mapping.spec import SpecReader
from engine.partitions.sets import PartitionSet
from engine.partitions.space import PartitionSpace
from engine.partitions.time_dimension import TimeDimension


@dataclass(frozen=True, slots=True)
class Mapping:
    """Relation between partitions of `source` and the `target` partitions computed from them.

    `down` and `up` are exact inverses: t is in down({s}) if and only if s is in up({t}). Both map
    subsets of one universe to subsets of the other.

    An unmapped target dimension stands for all of its keys. `existing` is the set of existing
    source partitions. Only the form `last` uses this set, and selects the greatest key;
    without existing partitions, the last of the universe counts, or any if the universe is
    unbounded.
    """

    source: PartitionSpace
    target: PartitionSpace
    links: Links
    is_identity: bool = field(init=False, compare=False)
    """True if both spaces are equal and every partition is related only to itself."""
    takes_last: bool = field(init=False, compare=False)
    """True if the mapping has the form `last` for some dimension, and so uses `existing`."""
    _spec: Any = field(compare=False, repr=False)

    def __post_init__(self) -> None:
        identities = sum(
            isinstance(link.relation, Same) and link.source == link.target
            for link in self.links.links
        )
        is_identity = self.source == self.target and identities == len(self.source.dimensions)
        object.__setattr__(self, "is_identity", is_identity)
        object.__setattr__(self, "takes_last", bool(self.links.latest))

    @staticmethod
    def from_spec(
        spec: Any, source: PartitionSpace, target: PartitionSpace, where: str = "mapping"
    ) -> Mapping:
        """Read a mapping from JSON data; None infers one. `where` is the start of messages.

        The forms are "identity", "all", "last" and an object with an entry for each target
        dimension: "all", "last", a source dimension's name, `{"from": name, "last": true}`,
        `{"from": name, "window": [a, b], "unit": "output" or "input"}` or
        `{"from": name, "map": {key: key or [keys]}}`. An entry "last" may also name a dimension
        that only the source has. All keys of a target dimension without an
        entry are affected, and all keys of an unused source dimension are needed.

        Raises:
            InvalidMapping: the mapping does not fit the spaces, or cannot be inferred.
        """
        complete = infer(source, target, where) if spec is None else deepcopy(spec)
        return Mapping(source, target, SpecReader(source, target, where).read(complete), complete)

    def to_spec(self) -> Any:
        """Return the JSON data for `from_spec`, never None."""
        return deepcopy(self._spec)

    def from_unlimited(self) -> Mapping:
        """Return the mapping from a source without bounds and lists; not for the form `last`."""
        return Mapping.from_spec(self._spec, self.source.unlimited(), self.target)

    def down(self, partitions: PartitionSet, existing: PartitionSet | None = None) -> PartitionSet:
        """Return the target partitions affected by any of these source partitions."""
        if self.is_identity:
            return self._moved(partitions, self.target)
        latest = self._latest(existing)
        boxes = [
            self._down_box(box)
            for box in partitions.boxes
            if all(box[i] & last for i, last in latest.items())
        ]
        return PartitionSet.of(self.target, boxes)

    def up(self, partitions: PartitionSet, existing: PartitionSet | None = None) -> PartitionSet:
        """Return the source partitions needed by any of these target partitions."""
        if self.is_identity:
            return self._moved(partitions, self.source)
        latest = self._latest(existing)
        return PartitionSet.of(self.source, [self._up_box(box, latest) for box in partitions.boxes])

    def within(self, partitions: PartitionSet, wanted: PartitionSet) -> PartitionSet:
        """Return the wanted target partitions affected by a source partition within their windows.

        None, unless a source dimension is mapped to every time dimension of the target, and the
        result is independent of the partitions that exist (`last`).
        """
        times = {
            i
            for i, (_, dimension) in enumerate(self.target.dimensions)
            if isinstance(dimension, TimeDimension)
        }
        if self.takes_last or not times <= {link.target for link in self.links.links}:
            return self.target.empty
        boxes = [
            self._within_box(box, part, times) for box in partitions.boxes for part in wanted.boxes
        ]
        return PartitionSet.of(self.target, boxes)

    def _within_box(self, box: Box, wanted: Box, times: Collection[int]) -> Box:
        image = list(wanted)
        for link in self.links.links:
            sources, targets = box[link.source], wanted[link.target]
            if link.target in times and isinstance(link.relation, Overlap):
                image[link.target] = link.relation.within(sources, targets)
            else:
                image[link.target] = link.relation.down(sources) & targets
        return tuple(image)

    def _down_box(self, box: Box) -> Box:
        image = list(self.target.universe.boxes[0])
        for link in self.links.links:
            image[link.target] = link.relation.down(box[link.source])
        return tuple(image)

    def _up_box(self, box: Box, latest: dict[int, DimensionSet]) -> Box:
        image = list(self.source.universe.boxes[0])
        for i, last in latest.items():
            image[i] = last
        for link in self.links.links:
            image[link.source] = link.relation.up(box[link.target])
        return tuple(image)

    def _latest(self, existing: PartitionSet | None) -> dict[int, DimensionSet]:
        """Return the last key of each dimension in `latest`, or all keys of an unbounded one."""
        boxes = (existing.boxes if existing else ()) or self.source.universe.boxes
        return {i: self._last(i, [box[i] for box in boxes]) for i in self.links.latest}

    def _last(self, i: int, members: Sequence[Any]) -> DimensionSet:
        _, dimension = self.source.dimensions[i]
        if isinstance(dimension, StaticDimension):
            last = max(dimension.positions(KeySet.union(members)))
            return KeySet.of(dimension.format(last))
        end = max(intervals.spans[-1][1] for intervals in members)
        return dimension.universe if end == POS else Intervals.single(end - 1)

    def _moved(self, partitions: PartitionSet, space: PartitionSpace) -> PartitionSet:
        # Equal spaces may have different columns, so the set must refer to the right space.
        return partitions if partitions.space is space else PartitionSet(space, partitions.boxes)
