"""Partitions by text keys: a fixed list, or arbitrary keys."""

from __future__ import annotations

from abc import abstractmethod
from dataclasses import dataclass, field
from typing import Any

from engine.errors import InvalidPartition
from engine.model.text import is_storable
from engine.partitions.dimension import EVERYTHING, TO, Dimension, DimensionValue
from engine.partitions.keyset import KeySet

LONGEST = 100
"""Maximum characters of a key: several must fit into one index entry."""
_RESERVED = ("/", "=", ",", TO)
_BUT = "!"


def check_key(key: str, where: str) -> str:
    """Return the key if valid in a partition's text.

    Raises:
        InvalidPartition: the key is empty, too long, or `*`, starts with `!`, contains `/`, `=`,
            `,` or `..`, or cannot be stored as text.
    """
    if len(key) > LONGEST:
        raise InvalidPartition(
            f"{where}: {key[:20]!r}… has {len(key)} characters; use {LONGEST} at most"
        )
    if not is_storable(key):
        raise InvalidPartition(
            f"{where}: {key!r} contains a NUL character or half of a surrogate pair; use valid text"
        )
    if not key or key == EVERYTHING or key.startswith(_BUT) or any(s in key for s in _RESERVED):
        raise InvalidPartition(
            f"{where}: {key!r} cannot be a key; use a text like JFK, "
            "without '/', '=', ',' or '..', that is not '*' and does not start with '!'"
        )
    return key


class KeyDimension(Dimension):
    """A dimension whose sets are `KeySet`s."""

    __slots__ = ()

    is_ordered = False

    def value(self, key: str, where: str = "partition") -> DimensionValue:
        """See `Dimension`."""
        if self.parse(key, where).keys != {key}:
            raise InvalidPartition(f"{where}: {key!r} is not one key; give one key")
        return DimensionValue(key)

    @abstractmethod
    def parse(self, text: str, where: str = "partition") -> KeySet:
        """See `Dimension`."""


@dataclass(frozen=True, slots=True)
class StaticDimension(KeyDimension):
    """A fixed list of `keys`, in the order of listings and ranges."""

    keys: tuple[str, ...]
    column: str | None = field(default=None, compare=False)
    _index: dict[str, int] = field(init=False, repr=False, compare=False)
    _universe: KeySet = field(init=False, repr=False, compare=False)

    def __post_init__(self) -> None:
        index = {check_key(key, "static keys"): i for i, key in enumerate(self.keys)}
        if not index or len(index) < len(self.keys):
            raise InvalidPartition(
                f"static keys: {list(self.keys)} is empty or repeats a key; list each key once"
            )
        object.__setattr__(self, "_index", index)
        object.__setattr__(self, "_universe", KeySet(frozenset(index)))

    @property
    def universe(self) -> KeySet:
        """See `Dimension`."""
        return self._universe

    def parse(self, text: str, where: str = "partition") -> KeySet:
        """See `Dimension`; ranges follow the order of the list at present."""
        if text == EVERYTHING:
            return self.universe
        first, to, last = text.partition(TO)
        lo = self._position(first, where)
        hi = self._position(last, where) if to else lo
        if lo > hi:
            raise InvalidPartition(
                f"{where}: the range {text!r} ends before it starts; write {last}{TO}{first}"
            )
        return KeySet(frozenset(self.keys[lo : hi + 1]))

    def format(self, position: int) -> str:
        """See `Dimension`."""
        return self.keys[position]

    def positions(self, members: KeySet) -> list[int]:
        """See `Dimension`."""
        return sorted(self._index[key] for key in members.keys)

    def texts(self, members: KeySet) -> list[str]:
        """See `Dimension`; one text per key, because a range changes with the order of the list."""
        return [self.keys[position] for position in self.positions(members)]

    def text_count(self, members: KeySet) -> int:
        """See `Dimension`."""
        return len(members.keys)

    def sort_key(self, members: KeySet) -> list[int]:
        """See `Dimension`."""
        return self.positions(members)

    def to_spec(self) -> dict[str, Any]:
        """See `Dimension`."""
        return {"static": list(self.keys)}

    def is_alike(self, other: Dimension) -> bool:
        """See `Dimension`."""
        return isinstance(other, StaticDimension)

    def spanning(self, members: KeySet) -> KeySet:
        """See `Dimension`."""
        return members if len(members.keys) == 1 else self.universe

    def unlimited(self) -> DynamicDimension:
        """See `Dimension`."""
        return DynamicDimension(self.column)

    def _position(self, key: str, where: str) -> int:
        if key not in self._index:
            raise InvalidPartition(
                f"{where}: {key!r} is not among the keys; write one like {self.keys[0]}"
            )
        return self._index[key]


@dataclass(frozen=True, slots=True)
class DynamicDimension(KeyDimension):
    """Arbitrary keys, discovered in events and data; the universe is unbounded."""

    column: str | None = field(default=None, compare=False)

    @property
    def universe(self) -> KeySet:
        """See `Dimension`."""
        return _ANY

    def parse(self, text: str, where: str = "partition") -> KeySet:
        """See `Dimension`; ranges do not exist, and `!a,b` denotes all keys except a and b."""
        if text == EVERYTHING:
            return _ANY
        if text.startswith(_BUT):
            keys = text.removeprefix(_BUT).split(",")
            return KeySet(frozenset(check_key(key, where) for key in keys), complement=True)
        return KeySet.of(check_key(text, where))

    def format(self, position: str) -> str:
        """See `Dimension`."""
        return position

    def positions(self, members: KeySet) -> list[str]:
        """See `Dimension`."""
        return sorted(members.keys)

    def texts(self, members: KeySet) -> list[str]:
        """See `Dimension`."""
        keys = self.positions(members)
        return [(_BUT + ",".join(keys)) if keys else EVERYTHING] if members.complement else keys

    def text_count(self, members: KeySet) -> int:
        """See `Dimension`."""
        return 1 if members.complement else len(members.keys)

    def sort_key(self, members: KeySet) -> tuple[bool, list[str]]:
        """See `Dimension`."""
        return members.complement, self.positions(members)

    def to_spec(self) -> dict[str, Any]:
        """See `Dimension`."""
        return {"dynamic": True}

    def is_alike(self, other: Dimension) -> bool:
        """See `Dimension`."""
        return isinstance(other, DynamicDimension)

    def unlimited(self) -> DynamicDimension:
        """See `Dimension`."""
        return self


_ANY = KeySet(complement=True)
