"""The columns and rows of a query, each with the input columns read to produce them."""

from __future__ import annotations

from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass, replace
from functools import cached_property
from itertools import zip_longest
from typing import NamedTuple

from engine.lineage.columns import EVERY

SAME = ""
"""As the column of a read: the column with the requested name."""


class Read(NamedTuple):
    """A column of an input, with the input's alias; ``*`` stands for any column."""

    alias: str
    column: str


Reads = frozenset[Read]
NOTHING: Reads = frozenset()


@dataclass(frozen=True)
class Relation:
    """The columns of a query or table, in order; the name of an unnamed expression is None.

    ``rows`` are the reads that add or remove rows. ``unlisted`` are the reads of columns beyond the
    known ones, None if there can be none. ``is_ordered`` is False if the order of columns is
    uncertain: the order in a table may differ from the order in the file.
    """

    columns: tuple[tuple[str | None, Reads], ...] = ()
    rows: Reads = NOTHING
    unlisted: Reads | None = None
    is_ordered: bool = True

    @staticmethod
    def of_input(
        alias: str, columns: Iterable[str] | None, shaped_by: Iterable[str] = ()
    ) -> Relation:
        """Build the relation of an input (``columns`` None: unknown).

        ``shaped_by`` are the columns by which rows of the input are selected.
        """
        return Relation(
            columns=tuple((name, frozenset({Read(alias, name)})) for name in columns or ()),
            rows=frozenset(Read(alias, name) for name in shaped_by),
            unlisted=frozenset({Read(alias, SAME)}) if columns is None else None,
            is_ordered=False,
        )

    @property
    def everything(self) -> Reads:
        """The reads of all columns together."""
        unlisted = (Read(r.alias, r.column or EVERY) for r in self.unlisted or ())
        return union(reads for _, reads in self.columns) | frozenset(unlisted)

    @property
    def has_positions(self) -> bool:
        """True if the position of each column is certain."""
        return self.is_ordered and self.unlisted is None

    def column(self, name: str) -> Reads | None:
        """Return the reads of a known column, or None."""
        return self._by_name.get(name)

    @cached_property
    def _by_name(self) -> Mapping[str | None, Reads]:
        found: dict[str | None, Reads] = {}
        for name, reads in self.columns:
            found[name] = found.get(name, NOTHING) | reads
        return found

    def possible_column(self, name: str) -> Reads | None:
        """Return the reads of a known or possible column, or None."""
        reads = self.column(name)
        if reads is not None or self.unlisted is None:
            return reads
        return frozenset(Read(r.alias, r.column or name) for r in self.unlisted)

    def renamed(self, names: Sequence[str]) -> Relation:
        """Return the relation with new names for the first columns."""
        if not names:
            return self
        if not self.has_positions:
            widened = tuple((name, self.everything) for name in names)
            return replace(self, columns=widened, unlisted=self.everything)
        named = zip_longest(names, self.columns)
        return replace(
            self, columns=tuple((name or old[0], old[1]) for name, old in named if old is not None)
        )

    def shaped(self, by: Reads) -> Relation:
        """Return the relation with additional reads that affect its rows."""
        return replace(self, rows=self.rows | by)


def union(parts: Iterable[Reads]) -> Reads:
    """Return the union of several sets of reads."""
    return NOTHING.union(*parts)
