"""The partitioning of a dataset, and the texts of its partitions."""

from __future__ import annotations

from collections.abc import Iterable, Iterator, Mapping
from dataclasses import dataclass, field
from itertools import islice
from typing import Any

from engine.errors import InvalidPartition
from engine.partitions.dimension import EVERYTHING, Dimension, DimensionValue
from engine.partitions.key_dimension import check_key
from engine.partitions.limits import check_keys
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
    """The product of named dimensions; an unpartitioned dataset has none, and the key `*`.

    Keys are plain with one dimension (`2013-02-13`), and Hive style with several
    (`dt=2013-02-13/origin=JFK`). Spaces are equal if names and keys are, even with other columns.
    """

    dimensions: tuple[tuple[str, Dimension], ...] = ()
    universe: PartitionSet = field(init=False, repr=False)
    """Set of all partitions."""
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
        """Return the space described by JSON data; None and {} are unpartitioned.

        Each dimension is one of `{"time": grain, "zone", "start", "end"}`, `{"range": size,
        "start", "end"}`, `{"static": [keys]}` and `{"dynamic": true}`, all with "column".

        Raises:
            InvalidPartition: a dimension is malformed.
        """
        items = (spec or {}).items()
        return PartitionSpace(tuple((name, read_dimension(name, value)) for name, value in items))

    def to_spec(self) -> dict[str, Any]:
        """Return the JSON data for `from_spec`."""
        return {name: write_dimension(dimension) for name, dimension in self.dimensions}

    @property
    def names(self) -> tuple[str, ...]:
        """Names of the dimensions, in order."""
        return tuple(name for name, _ in self.dimensions)

    def __getitem__(self, name: str) -> Dimension:
        return self.dimensions[self.index(name)][1]

    def index(self, name: str) -> int:
        """Return the index of a dimension; raises InvalidPartition for an unknown name."""
        if name not in self.names:
            names = ", ".join(self.names) or "none, since the dataset is unpartitioned"
            raise InvalidPartition(f"there is no dimension {name!r}; the dimensions are: {names}")
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
        """Return True if shared keys denote the same rows, regardless of bounds."""
        return self.names == other.names and all(
            ours.is_alike(theirs) and ours.column == theirs.column
            for (_, ours), (_, theirs) in zip(self.dimensions, other.dimensions, strict=True)
        )

    def part_of(self, partitions: PartitionSet) -> PartitionSet:
        """Restrict a set of an alike space to the partitions of this space."""
        return PartitionSet.of(self, partitions.boxes) & self.universe

    def convert_text(self, before: PartitionSpace, text: str) -> str | None:
        """Convert a text of an alike space to one text of this space, or None for an empty set.

        Several keys of a list have no text in common, and are converted to all keys.
        """
        part = self.part_of(before.parse(text))
        pairs = [zip(self._axes, box, strict=True) for box in part.boxes]
        boxes = [tuple(axis.spanning(members) for axis, members in box) for box in pairs]
        return next(iter(self.texts(PartitionSet.of(self, boxes))), None)

    def unlimited(self) -> PartitionSpace:
        """Return the space without bounds and lists, which has the partitions of all alike ones."""
        return PartitionSpace(tuple((name, each.unlimited()) for name, each in self.dimensions))

    def parse(self, text: str | None) -> PartitionSet:
        """Parse a key, or a product of keys, inclusive ranges and `*`, to a set.

        `dt=2013-02-01..2013-02-07/origin=JFK`, in any order; an omitted dimension means all of its
        keys, and None or `*` means all partitions.

        Raises:
            InvalidPartition: the dataset cannot have these partitions.
        """
        if text is None or text == EVERYTHING:
            return self.universe
        return PartitionSet(self, (read_box(self.dimensions, text),))

    def from_keys(self, texts: Iterable[str]) -> PartitionSet:
        """Return the union of keys, or of other texts for `parse`; raises InvalidPartition."""
        listed = list(texts)
        if EVERYTHING in listed:
            return self.universe
        return PartitionSet.of(self, read_boxes(self.dimensions, listed))

    def from_alike(self, texts: Iterable[str]) -> PartitionSet:
        """Return the union of texts of an alike space, without the partitions that this one lacks.

        Ranges of listed keys are not accepted, because their meaning depends on the list.

        Raises:
            InvalidPartition: no alike space has these partitions.
        """
        listed = list(texts)
        try:
            return self.from_keys(listed)
        except InvalidPartition:
            return self.part_of(self.unlimited().from_keys(listed))

    def inside(self, keys: Iterable[str]) -> list[str]:
        """Return those keys of an alike space that this space has, in the given order."""
        listed = list(keys)
        here = {*self.keys(self.from_alike(listed), limit=len(listed))}
        return [key for key in listed if key in here]

    def keys(self, partitions: PartitionSet, *, limit: int | None = None) -> Iterator[str]:
        """Yield the keys of a finite set in lexicographic order of the dimensions.

        Time and range ascend, static keys follow the list, dynamic keys are sorted as text.

        Raises:
            InvalidPartition: the set is unbounded.
            TooManyPartitions: the set has more than ``limit`` keys, by default `limits.MAX_KEYS`.
        """
        self._check_listable(partitions, limit)
        return map(key_writer(self.dimensions), points(self._axes, partitions.boxes))

    def texts(self, partitions: PartitionSet) -> list[str]:
        """Return few texts, in order, from which `from_keys` restores the set.

        Adjacent keys form one range, and a dimension with all of its keys is omitted. The texts
        denote disjoint sets.

        Raises:
            TooManyPartitions: the set takes more than `limits.MAX_KEYS` texts.
        """
        check_keys(text_count(self.dimensions, partitions.boxes), "the set")
        return list(write_boxes(self.dimensions, partitions.boxes))

    def first_texts(self, partitions: PartitionSet, limit: int) -> list[str]:
        """Return at most ``limit`` of the set's texts for display, with an ellipsis for others."""
        texts = list(islice(write_boxes(self.dimensions, partitions.boxes), limit + 1))
        return texts if len(texts) <= limit else [*texts[:limit], "…"]

    def values(self, key: str) -> dict[str, DimensionValue]:
        """Return each dimension's part of a key, with the window.

        Raises:
            InvalidPartition: the text is not a single key of this space.
        """
        parts = {} if key == EVERYTHING else split(self.dimensions, key)
        if len(parts) < len(self.dimensions):
            raise InvalidPartition(f"{key!r} is not one partition; give a key for {self.names}")
        return {
            name: dimension.value(parts[i], where(name))
            for i, (name, dimension) in enumerate(self.dimensions)
        }

    def blocks(self, partitions: PartitionSet, size: int) -> Iterator[tuple[str, list[str]]]:
        """Yield the keys of a finite set in blocks of `size` adjacent keys: (block key, keys).

        Blocks start at multiples of `size` on the grid of the first time or range dimension, with
        the other dimensions fixed; without such a dimension each key is a block. The block key is
        the first key of the complete block, whether or not that key is in the set.

        Raises:
            InvalidPartition: the set is unbounded.
            TooManyPartitions: the set has more than `limits.MAX_KEYS` keys.
        """
        if size == 1:
            return ((key, [key]) for key in self.keys(partitions))
        self._check_listable(partitions)
        write = key_writer(self.dimensions)
        by_first = blocks(self._axes, partitions.boxes, size)
        return ((write(first), list(map(write, members))) for first, members in by_first.items())

    @property
    def _axes(self) -> list[Dimension]:
        return [dimension for _, dimension in self.dimensions]

    def _check_listable(self, partitions: PartitionSet, limit: int | None = None) -> None:
        if not partitions.is_finite:
            raise InvalidPartition(
                f"{', '.join(self.first_texts(partitions, 3))} is unbounded and cannot be listed; "
                "bound the dimension, or intersect with the partitions known to exist"
            )
        if not partitions.is_listable(limit):
            check_keys(partitions.count(), ", ".join(self.first_texts(partitions, 3)))
