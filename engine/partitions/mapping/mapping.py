"""From the partitions of one dataset to those of another, down and up."""

from __future__ import annotations

from copy import deepcopy
from dataclasses import dataclass, field
from typing import Any

from engine.partitions.boxes import Box
from engine.partitions.intervals import POS, Intervals
from engine.partitions.mapping.infer import infer
from engine.partitions.mapping.link import Links
from engine.partitions.mapping.relation import Same
from engine.partitions.mapping.spec import SpecReader
from engine.partitions.sets import PartitionSet
from engine.partitions.space import PartitionSpace


@dataclass(frozen=True, slots=True)
class Mapping:
    """Which partitions of `target` are made from which of `source`, as a relation.

    `down` and `up` are exact inverses: t is in down({s}) just when s is in up({t}). Both take sets
    within their own space's universe and stay within the other's.

    An unmapped target dimension means all of its keys. `known` is the set of source partitions
    that exist. Only `last` looks at it, and takes the greatest of them; with none known it takes
    the last of the universe, and in a universe without an end any partition counts as the last one.
    """

    source: PartitionSpace
    target: PartitionSpace
    links: Links
    is_identity: bool = field(init=False, compare=False)
    """Whether both spaces are equal and every partition meets itself only."""
    takes_last: bool = field(init=False, compare=False)
    """Whether the last key of some dimension counts, so that `known` is looked at."""
    _spec: Any = field(compare=False, repr=False)

    def __post_init__(self) -> None:
        straight = sum(
            isinstance(link.relation, Same) and link.source == link.target
            for link in self.links.links
        )
        same = self.source == self.target and straight == len(self.source.dimensions)
        object.__setattr__(self, "is_identity", same)
        object.__setattr__(self, "takes_last", bool(self.links.latest))

    @staticmethod
    def from_spec(
        spec: Any, source: PartitionSpace, target: PartitionSpace, where: str = "mapping"
    ) -> Mapping:
        """The mapping that JSON data describes; None infers it. `where` opens every message.

        The forms are "identity", "all", "last" and an object with an entry for each target
        dimension: "all", "last", a source dimension's name, or `{"from": name, "window": [a, b]}`
        or `{"from": name, "map": {key: key or [keys]}}`. A target dimension without an entry is
        touched whole, a source dimension that feeds none is needed whole.

        Raises:
            InvalidMapping: it cannot apply, or is not obvious enough to infer.
        """
        said = infer(source, target, where) if spec is None else deepcopy(spec)
        return Mapping(source, target, SpecReader(source, target, where).read(said), said)

    def to_spec(self) -> Any:
        """The JSON data that `from_spec` reads back; never None."""
        return deepcopy(self._spec)

    def down(self, partitions: PartitionSet, known: PartitionSet | None = None) -> PartitionSet:
        """The target partitions that any of these source partitions touches."""
        if self.is_identity:
            return self._moved(partitions, self.target)
        latest = self._latest(known)
        boxes = [
            self._down_box(box)
            for box in partitions.boxes
            if all(box[i] & last for i, last in latest.items())
        ]
        return PartitionSet.of(self.target, boxes)

    def up(self, partitions: PartitionSet, known: PartitionSet | None = None) -> PartitionSet:
        """The source partitions that any of these target partitions needs."""
        if self.is_identity:
            return self._moved(partitions, self.source)
        latest = self._latest(known)
        return PartitionSet.of(self.source, [self._up_box(box, latest) for box in partitions.boxes])

    def _down_box(self, box: Box) -> Box:
        image = list(self.target.universe.boxes[0])
        for link in self.links.links:
            image[link.target] = link.relation.down(box[link.source])
        return tuple(image)

    def _up_box(self, box: Box, latest: dict[int, Intervals]) -> Box:
        image = list(self.source.universe.boxes[0])
        for i, last in latest.items():
            image[i] = last
        for link in self.links.links:
            image[link.source] = link.relation.up(box[link.target])
        return tuple(image)

    def _latest(self, known: PartitionSet | None) -> dict[int, Intervals]:
        """The last key of each dimension of which only the last counts, or all when unknown."""
        boxes = (known.boxes if known else ()) or self.source.universe.boxes
        return {
            i: self._last(i, max(box[i].spans[-1][1] for box in boxes)) for i in self.links.latest
        }

    def _last(self, i: int, end: int) -> Intervals:
        universe: Intervals = self.source.universe.boxes[0][i]
        return universe if end == POS else Intervals.single(end - 1)

    def _moved(self, partitions: PartitionSet, space: PartitionSpace) -> PartitionSet:
        # Equal spaces may still differ in their columns, which the set's space must tell.
        return partitions if partitions.space is space else PartitionSet(space, partitions.boxes)
