"""Name resolution in expressions by Postgres's rules."""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from dataclasses import dataclass, field, replace

from engine.lineage.sql.relation import NOTHING, Reads, Relation
from engine.lineage.sql.unresolved import Unresolved


@dataclass(frozen=True, slots=True)
class Scope:
    """The tables of a FROM up to some point.

    ``tables`` has relations by alias, ``star`` is the relation of ``*``, ``outer`` the scope of the
    enclosing query, and ``common`` has the relations available in a FROM: inputs and WITH queries.
    """

    common: Mapping[str, Relation]
    tables: Mapping[str, Relation] = field(default_factory=dict)
    star: Relation = field(default_factory=Relation)
    outer: Scope | None = None

    def inside(self) -> Scope:
        """Return the scope of a subquery in an expression."""
        return Scope(self.common, outer=self)

    def beside(self) -> Scope:
        """Return the scope of a subquery in the FROM without LATERAL."""
        return Scope(self.common, outer=self.outer)

    def with_common(self, name: str, relation: Relation | None) -> Scope:
        """Return the scope with an additional WITH query; None hides the name."""
        others = {alias: table for alias, table in self.common.items() if alias != name}
        return replace(self, common=others | ({name: relation} if relation else {}))

    def table(self, name: str) -> Relation:
        """Return the innermost table with this alias. Raises Unresolved."""
        for scope in self._outwards():
            if name in scope.tables:
                return scope.tables[name]
        raise Unresolved(f"there is no table {name!r}")

    def qualified(self, table: str, name: str) -> Reads:
        """Return the reads of ``table.name``. Raises Unresolved."""
        reads = self.table(table).possible_column(name)
        if reads is None:
            raise Unresolved(f"{table!r} has no column {name!r} that is known")
        return reads

    def column(self, name: str) -> Reads:
        """Return the reads of an unqualified name. Raises Unresolved.

        If columns of tables are unknown, the result covers every possible meaning of the name.
        """
        reads = self.possible_column(name)
        if reads is None:
            raise Unresolved(f"no table here is known to have the column {name!r}")
        return reads

    def possible_column(self, name: str) -> Reads | None:
        """Return the reads of an unqualified name, or None if it has no meaning."""
        candidates: list[Reads] = []
        for scope in self._outwards():
            possible = scope.star.possible_column(name)
            candidates += [] if possible is None else [possible]
            if scope.star.column(name) is not None:
                return NOTHING.union(*candidates)
        # Postgres resolves the name of a table to its whole row if there is no such column.
        candidates += [s.tables[name].everything for s in self._outwards() if name in s.tables]
        return NOTHING.union(*candidates) if candidates else None

    def _outwards(self) -> Iterator[Scope]:
        scope: Scope | None = self
        while scope is not None:
            yield scope
            scope = scope.outer
