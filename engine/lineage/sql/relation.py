"""What a query gives, and what of the inputs each part of it is made from."""

from __future__ import annotations

from collections.abc import Iterable, Sequence
from dataclasses import dataclass, replace
from itertools import zip_longest
from typing import NamedTuple

from engine.lineage.columns import EVERY

SAME = ""
"""As the column of a read: that of the name which is asked for."""


class Read(NamedTuple):
    """A column of an input, by the input's alias; ``*``: any of its columns."""

    alias: str
    column: str


Reads = frozenset[Read]
NOTHING: Reads = frozenset()


@dataclass(frozen=True, slots=True)
class Relation:
    """The columns of a query or table, in order; one that an expression left unnamed is None.

    ``rows`` is what moves rows in or out. ``unlisted`` is not None where there may be columns
    beyond the known ones, and is what those are made from. ``is_ordered`` is False where the
    columns' order is not certain: that of a table may differ from the one that the file lists.
    """

    columns: tuple[tuple[str | None, Reads], ...] = ()
    rows: Reads = NOTHING
    unlisted: Reads | None = None
    is_ordered: bool = True

    @staticmethod
    def of_input(
        alias: str, columns: Iterable[str] | None, shaped_by: Iterable[str] = ()
    ) -> Relation:
        """An input, whose rows are chosen by some of its columns; ``columns`` None: unknown."""
        return Relation(
            columns=tuple((name, frozenset({Read(alias, name)})) for name in columns or ()),
            rows=frozenset(Read(alias, name) for name in shaped_by),
            unlisted=frozenset({Read(alias, SAME)}) if columns is None else None,
            is_ordered=False,
        )

    @property
    def everything(self) -> Reads:
        """What all of its columns are made from."""
        unlisted = (Read(r.alias, r.column or EVERY) for r in self.unlisted or ())
        return union(reads for _, reads in self.columns) | frozenset(unlisted)

    @property
    def has_places(self) -> bool:
        """Whether it is certain which column is the n-th."""
        return self.is_ordered and self.unlisted is None

    def column(self, name: str) -> Reads | None:
        """What a column that it is known to have is made from."""
        found = [reads for each, reads in self.columns if each == name]
        return union(found) if found else None

    def possible_column(self, name: str) -> Reads | None:
        """The same of a column that it has or may have."""
        found = self.column(name)
        if found is not None or self.unlisted is None:
            return found
        return frozenset(Read(r.alias, r.column or name) for r in self.unlisted)

    def renamed(self, names: Sequence[str]) -> Relation:
        """With other names for the first columns."""
        if not names:
            return self
        if not self.has_places:
            whole = tuple((name, self.everything) for name in names)
            return replace(self, columns=whole, unlisted=self.everything)
        named = zip_longest(names, self.columns)
        return replace(
            self, columns=tuple((name or old[0], old[1]) for name, old in named if old is not None)
        )

    def shaped(self, by: Reads) -> Relation:
        """The same with more that moves its rows."""
        return replace(self, rows=self.rows | by)


def union(parts: Iterable[Reads]) -> Reads:
    """All of them in one set."""
    return NOTHING.union(*parts)
