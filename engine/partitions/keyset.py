"""Sets of text keys, finite or with a finite complement."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass

from engine.partitions.limits import check_pieces


@dataclass(frozen=True, slots=True)
class KeySet:
    """The `keys`, or with `complement` all possible keys except these.

    The universe of a dynamic dimension is the complement of the empty set.
    """

    keys: frozenset[str] = frozenset()
    complement: bool = False

    @staticmethod
    def of(*keys: str) -> KeySet:
        """Return the set of the given keys."""
        return KeySet(frozenset(keys))

    @staticmethod
    def union(sets: Sequence[KeySet], /) -> KeySet:
        """Return the union of many sets."""
        if len(sets) == 1:
            return sets[0]
        finite = frozenset().union(*(s.keys for s in sets if not s.complement))
        excluded = [s.keys for s in sets if s.complement]
        if not excluded:
            return KeySet(finite)
        return KeySet(frozenset.intersection(*excluded) - finite, complement=True)

    @staticmethod
    def atoms(sets: Sequence[KeySet], /) -> list[tuple[KeySet, frozenset[int]]]:
        """Split overlapping sets into disjoint pieces, each with the indexes of its owners.

        Keys listed in no set form one piece, owned by the complements.
        """
        named = frozenset().union(*(s.keys for s in sets))
        owners: dict[str, list[int]] = {key: [] for key in named}
        total = 0
        for i, s in enumerate(sets):
            total += len(named) if s.complement else len(s.keys)
            check_pieces(total)
            for key in named - s.keys if s.complement else s.keys:
                owners[key].append(i)
        pieces: dict[frozenset[int], set[str]] = {}
        for key, indexes in owners.items():
            pieces.setdefault(frozenset(indexes), set()).add(key)
        complements = frozenset(i for i, s in enumerate(sets) if s.complement)
        in_complements_only = pieces.pop(complements, set())
        atoms = [(KeySet(frozenset(keys)), indexes) for indexes, keys in pieces.items() if indexes]
        if complements:
            rest = KeySet(named - in_complements_only, complement=True)
            atoms.append((rest, complements))
        return atoms

    @property
    def is_finite(self) -> bool:
        """True if the set has finitely many keys."""
        return not self.complement

    def count(self) -> int:
        """Return the number of keys of a finite set."""
        return len(self.keys)

    def __bool__(self) -> bool:
        return self.complement or bool(self.keys)

    def __contains__(self, key: str) -> bool:
        return (key in self.keys) is not self.complement

    def __invert__(self) -> KeySet:
        return KeySet(self.keys, not self.complement)

    def __or__(self, other: KeySet) -> KeySet:
        if self is other or not other or self == other:
            return self
        return KeySet.union((self, other))

    def __and__(self, other: KeySet) -> KeySet:
        if self is other:
            return self
        if self.complement and other.complement:
            return KeySet(self.keys | other.keys, complement=True)
        if self.complement:
            return KeySet(other.keys - self.keys)
        return KeySet(self.keys - other.keys if other.complement else self.keys & other.keys)

    def __sub__(self, other: KeySet) -> KeySet:
        return self & ~other
