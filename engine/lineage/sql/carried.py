"""Carried columns: for each column of a query, the input columns copied to it unchanged."""

from __future__ import annotations

from collections import defaultdict
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass, replace
from functools import cached_property

from sqlglot import exp

from engine.lineage.sql.names import column_name
from engine.lineage.sql.parse import folded
from engine.lineage.sql.relation import NOTHING, Read, Reads

Carried = tuple[str | None, Reads]
"""A column's name, and the input columns carried by the column."""


@dataclass(frozen=True)
class Table:
    """A table or query in a FROM: its columns, and the aliases of all inputs read by it.

    ``has_positions``: the order of the columns is known. ``is_complete``: ``columns`` lists all.
    """

    columns: tuple[Carried, ...] = ()
    inputs: frozenset[str] = frozenset()
    has_positions: bool = True
    is_complete: bool = True

    @staticmethod
    def of_input(alias: str, columns: Iterable[str] | None) -> Table:
        """Build the table of an input, which carries its own columns (None: unknown)."""
        own = tuple((name, frozenset({Read(alias, name)})) for name in columns or ())
        is_known = columns is not None
        return Table(own, frozenset({alias}), has_positions=False, is_complete=is_known)

    @cached_property
    def by_name(self) -> Mapping[str | None, Sequence[Reads]]:
        """The input columns carried by each name, once for each column of the name."""
        found: defaultdict[str | None, list[Reads]] = defaultdict(list)
        for name, reads in self.columns:
            found[name].append(reads)
        return found

    def without(self, inputs: frozenset[str]) -> Table:
        """Return the table without columns carried from these inputs, whose rows are mixed."""
        kept = tuple((n, frozenset(r for r in c if r.alias not in inputs)) for n, c in self.columns)
        return replace(self, columns=kept)


def items_of(item: exp.Expr, tables: Mapping[str, Table]) -> Iterable[Carried]:
    """Return the columns of a SELECT list entry: one column, or all columns of a star."""
    if isinstance(item, exp.Star):
        return [column for table in tables.values() for column in table.columns]
    if isinstance(item, exp.Column) and item.is_star:
        return tables.get(folded(item.args["table"]), Table()).columns
    return [(column_name(item), carried(item, tables))]


def carried(node: exp.Expr, tables: Mapping[str, Table]) -> Reads:
    """Return the input columns carried by a bare column; none if the column is ambiguous."""
    if isinstance(node, exp.Alias | exp.Paren):
        return carried(node.this, tables)
    if not isinstance(node, exp.Column) or node.args.get("db"):
        return NOTHING
    table = node.args.get("table")
    candidates = [
        candidate for name, candidate in tables.items() if table is None or folded(table) == name
    ]
    wanted = folded(node.this)
    matches = [reads for each in candidates for reads in each.by_name.get(wanted, ())]
    is_certain = len(candidates) == 1 or all(candidate.is_complete for candidate in candidates)
    return matches[0] if len(matches) == 1 and is_certain else NOTHING


def keys_of(keys: Iterable[exp.Expr], select: exp.Select, tables: Mapping[str, Table]) -> Reads:
    """Return the input columns carried by keys, possibly SELECT items by number.

    A key by alias carries nothing.
    """
    return NOTHING.union(*(carried(_numbered(key, select), tables) for key in keys))


def _numbered(key: exp.Expr, select: exp.Select) -> exp.Expr:
    is_position = isinstance(key, exp.Literal) and not key.is_string and key.is_int
    if not is_position or any(item.is_star for item in select.expressions):
        return key
    index = int(key.name) - 1
    return select.expressions[index] if 0 <= index < len(select.expressions) else key
