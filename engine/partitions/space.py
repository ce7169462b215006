"""How a dataset is partitioned, and the texts of its partitions."""

from __future__ import annotations

from collections.abc import Iterable, Iterator, Mapping
from dataclasses import dataclass, field
from itertools import islice
from typing import Any

from engine.errors import InvalidPartition
from engine.partitions.dimension import EVERYTHING, Dimension, DimensionValue
from engine.partitions.key_dimension import check_key
from engine.partitions.limits import check_keys, is_listable
from engine.partitions.listing import blocks, points
from engine.partitions.sets import PartitionSet
from engine.partitions.spec import read_dimension, write_dimension
from engine.partitions.text import (
    key_writer,
    read_box,
    read_boxes,
    split,
    text_count,
    where,
    write_boxes,
)


@dataclass(frozen=True, slots=True, eq=False)
class PartitionSpace:
    """The product of named dimensions; none at all is an unpartitioned dataset with the key `*`.

    With one dimension a key is plain (`2013-02-13`), with several it is Hive style
    (`dt=2013-02-13/origin=JFK`). Spaces are equal when they have the same keys under the same
    names; the columns that hold them do not count.
    """

    dimensions: tuple[tuple[str, Dimension], ...] = ()
    universe: PartitionSet = field(init=False, repr=False)
    """Every partition."""
    empty: PartitionSet = field(init=False, repr=False)
    _hash: int = field(init=False, repr=False)

    def __post_init__(self) -> None:
        names = [check_key(name, "dimension names") for name, _ in self.dimensions]
        if len(set(names)) < len(names):
            raise InvalidPartition(f"the dimensions {names} repeat a name; name each once")
        box = tuple(dimension.universe for _, dimension in self.dimensions)
        object.__setattr__(self, "universe", PartitionSet(self, (box,)))
        object.__setattr__(self, "empty", PartitionSet(self, ()))
        object.__setattr__(self, "_hash", hash(self.dimensions))

    @staticmethod
    def from_spec(spec: Mapping[str, Any] | None) -> PartitionSpace:
        """The space that JSON data describes; None and {} are unpartitioned.

        Each dimension is one of `{"time": grain, "zone", "start", "end"}`, `{"range": size,
        "start", "end"}`, `{"static": [keys]}` and `{"dynamic": true}`, all with "column".

        Raises:
            InvalidPartition: a dimension makes no sense.
        """
        named = (spec or {}).items()
        return PartitionSpace(tuple((name, read_dimension(name, each)) for name, each in named))

    def to_spec(self) -> dict[str, Any]:
        """The JSON data that `from_spec` reads back."""
        return {name: write_dimension(dimension) for name, dimension in self.dimensions}

    @property
    def names(self) -> tuple[str, ...]:
        """The dimensions' names, in order."""
        return tuple(name for name, _ in self.dimensions)

    def __getitem__(self, name: str) -> Dimension:
        return self.dimensions[self.index(name)][1]

    def index(self, name: str) -> int:
        """Where a dimension stands; raises InvalidPartition when there is none of the name."""
        if name not in self.names:
            known = ", ".join(self.names) or "none, for the dataset is unpartitioned"
            raise InvalidPartition(f"there is no dimension {name!r}; the dimensions are: {known}")
        return self.names.index(name)

    def __eq__(self, other: object) -> bool:
        if self is other:
            return True
        if not isinstance(other, PartitionSpace):
            return NotImplemented
        return self._hash == other._hash and self.dimensions == other.dimensions

    def __hash__(self) -> int:
        return self._hash

    def is_alike(self, other: PartitionSpace) -> bool:
        """Whether a partition of both is the same one, in the same columns, whatever the bounds."""
        return self.names == other.names and all(
            each.is_alike(was) and each.column == was.column
            for (_, each), (_, was) in zip(self.dimensions, other.dimensions, strict=True)
        )

    def part_of(self, partitions: PartitionSet) -> PartitionSet:
        """Those that this space has, too, of a set of one that is alike."""
        return PartitionSet.of(self, partitions.boxes) & self.universe

    def recut(self, before: PartitionSpace, text: str) -> str | None:
        """One text for all that this space has of what a text names in one that is alike.

        None: it has nothing of that. Where keys have come to lie apart, it names what lies between.
        """
        part = self.part_of(before.parse(text))
        pairs = [zip(self._axes, box, strict=True) for box in part.boxes]
        boxes = [tuple(axis.spanning(members) for axis, members in each) for each in pairs]
        return next(iter(self.texts(PartitionSet.of(self, boxes))), None)

    def parse(self, text: str | None) -> PartitionSet:
        """The set that a key names, or a product of keys, inclusive ranges and `*`.

        `dt=2013-02-01..2013-02-07/origin=JFK`, in any order; a dimension that is left out means
        all of it, and None or `*` everything.

        Raises:
            InvalidPartition: the text names what the dataset cannot have.
        """
        if text is None or text == EVERYTHING:
            return self.universe
        return PartitionSet(self, (read_box(self.dimensions, text),))

    def from_keys(self, texts: Iterable[str]) -> PartitionSet:
        """The union of what many keys, or any texts that `parse` takes, name; raises as it does."""
        listed = list(texts)
        if EVERYTHING in listed:
            return self.universe
        return PartitionSet.of(self, read_boxes(self.dimensions, listed))

    def keys(self, partitions: PartitionSet, *, most: int | None = None) -> Iterator[str]:
        """The keys of a finite set, ordered by the first dimension first.

        Time and range ascend, static keys go by their list, dynamic ones by their text.

        Raises:
            InvalidPartition: the set is endless.
            TooManyPartitions: it has more than ``most`` keys, by default `limits.MAX_KEYS`.
        """
        self._check_listable(partitions, most)
        return map(key_writer(self.dimensions), points(self._axes, partitions.boxes))

    def texts(self, partitions: PartitionSet) -> list[str]:
        """Few texts, in order, that `from_keys` reads back to the set, to store or to show.

        A run of neighbours is one range, and a dimension of which all is in is left out. No text
        holds a key of another.

        Raises:
            TooManyPartitions: it takes more than `limits.MAX_KEYS` texts.
        """
        check_keys(text_count(self.dimensions, partitions.boxes), "the set")
        return list(write_boxes(self.dimensions, partitions.boxes))

    def first_texts(self, partitions: PartitionSet, most: int) -> list[str]:
        """At most so many of the set's texts, for people; a last one says that there are more."""
        found = list(islice(write_boxes(self.dimensions, partitions.boxes), most + 1))
        return found if len(found) <= most else [*found[:most], "…"]

    def values(self, key: str) -> dict[str, DimensionValue]:
        """Each dimension's part of one key, with the window that it stands for.

        Raises:
            InvalidPartition: it is not one key of this space.
        """
        parts = {} if key == EVERYTHING else split(self.dimensions, key)
        if len(parts) < len(self.dimensions):
            raise InvalidPartition(f"{key!r} is not one partition; give a key for {self.names}")
        return {
            name: dimension.value(parts[i], where(name))
            for i, (name, dimension) in enumerate(self.dimensions)
        }

    def blocks(self, partitions: PartitionSet, size: int) -> Iterator[tuple[str, list[str]]]:
        """The keys of a finite set in fixed blocks of `size` neighbours: (slot, keys), ordered.

        Blocks lie along the first time or range dimension, at multiples of `size` on its grid,
        with the other dimensions fixed; keys without such a dimension stay alone. The slot is the
        key of the block's first place, in the set or not: the same for any part of the block.

        Raises:
            InvalidPartition: the set is endless.
            TooManyPartitions: it has more than `limits.MAX_KEYS` keys.
        """
        if size == 1:
            return ((key, [key]) for key in self.keys(partitions))
        self._check_listable(partitions)
        write = key_writer(self.dimensions)
        found = blocks(self._axes, partitions.boxes, size)
        return ((write(slot), list(map(write, members))) for slot, members in found.items())

    @property
    def _axes(self) -> list[Dimension]:
        return [dimension for _, dimension in self.dimensions]

    def _check_listable(self, partitions: PartitionSet, most: int | None = None) -> None:
        if not partitions.is_finite:
            raise InvalidPartition(
                f"{', '.join(self.first_texts(partitions, 3))} has no end and cannot be listed; "
                "bound the dimension, or intersect with the partitions known to exist"
            )
        if not is_listable(partitions, most):
            check_keys(partitions.count(), ", ".join(self.first_texts(partitions, 3)))
