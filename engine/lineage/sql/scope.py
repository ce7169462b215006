"""The names that an expression can use, and what each of them means, by Postgres's rules."""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from dataclasses import dataclass, field, replace

from engine.lineage.sql.relation import NOTHING, Reads, Relation
from engine.lineage.sql.unresolved import Unresolved


@dataclass(frozen=True, slots=True)
class Scope:
    """What stands in a FROM so far.

    ``tables`` are named by alias, ``star`` is all of them as ``*`` gives it, ``outer`` belongs to
    the query around, and ``common`` can be named in a FROM: inputs and WITH queries.
    """

    common: Mapping[str, Relation]
    tables: Mapping[str, Relation] = field(default_factory=dict)
    star: Relation = field(default_factory=Relation)
    outer: Scope | None = None

    def inside(self) -> Scope:
        """The scope of a query in an expression."""
        return Scope(self.common, outer=self)

    def beside(self) -> Scope:
        """The scope of a query in the FROM that does not see its neighbours."""
        return Scope(self.common, outer=self.outer)

    def with_common(self, name: str, relation: Relation | None) -> Scope:
        """With a WITH query; None hides the name."""
        others = {each: of for each, of in self.common.items() if each != name}
        return replace(self, common=others | ({name: relation} if relation else {}))

    def table(self, name: str) -> Relation:
        """The table of an alias, the innermost first. Raises Unresolved."""
        for scope in self._outwards():
            if name in scope.tables:
                return scope.tables[name]
        raise Unresolved(f"there is no table {name!r}")

    def qualified(self, table: str, name: str) -> Reads:
        """What ``table.name`` reads. Raises Unresolved."""
        found = self.table(table).possible_column(name)
        if found is None:
            raise Unresolved(f"{table!r} has no column {name!r} that is known")
        return found

    def column(self, name: str) -> Reads:
        """What a name without a table reads. Raises Unresolved.

        Where tables are not known in full, it is all that the name may mean.
        """
        found = self.possible_column(name)
        if found is None:
            raise Unresolved(f"no table here is known to have the column {name!r}")
        return found

    def possible_column(self, name: str) -> Reads | None:
        """The same, or None where the name means nothing."""
        found: list[Reads] = []
        for scope in self._outwards():
            possible = scope.star.possible_column(name)
            found += [] if possible is None else [possible]
            if scope.star.column(name) is not None:
                return NOTHING.union(*found)
        # A table's name stands for its whole row, if there is no column of that name.
        found += [s.tables[name].everything for s in self._outwards() if name in s.tables]
        return NOTHING.union(*found) if found else None

    def _outwards(self) -> Iterator[Scope]:
        scope: Scope | None = self
        while scope is not None:
            yield scope
            scope = scope.outer
