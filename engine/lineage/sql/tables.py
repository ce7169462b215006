"""What a FROM gives: tables, joins, functions and queries, as Postgres puts them together."""

from __future__ import annotations

from collections.abc import Iterable, Mapping
from dataclasses import replace

from sqlglot import exp

from engine.lineage.sql.expressions import Expressions, Trace, check_call, function_name
from engine.lineage.sql.parse import folded
from engine.lineage.sql.relation import NOTHING, Reads, Relation, union
from engine.lineage.sql.scope import Scope
from engine.lineage.sql.unresolved import Unresolved


class Tables:
    """Makes the scope that a FROM gives."""

    def __init__(self, trace: Trace, expressions: Expressions) -> None:
        self._trace = trace
        self._expressions = expressions

    def scope(self, first: exp.Expr, joins: Iterable[exp.Join], scope: Scope) -> Scope:
        """What the first table and those joined to it give. Raises Unresolved.

        A comma binds less than JOIN does: what follows it is joined first.
        """
        before, group = scope, self._item(first, scope)
        for join in joins:
            if _is_comma(join):
                before = _beside(before, group, ())
                group = self._item(join.this, before)
            else:
                group = self._join(join, group, before)
        return _beside(before, group, ())

    def _join(self, join: exp.Join, left: Scope, before: Scope) -> Scope:
        """Both sides, with all that the condition reads moving rows."""
        right = self._item(join.this, _beside(before, left, ()))
        joined = _beside(left, right, _shared(join, left.star, right.star))
        seen = replace(joined, common=before.common, outer=before.outer)
        condition = self._expressions.read(join.args.get("on"), seen)
        return replace(joined, star=joined.star.shaped(condition))

    def _item(self, item: exp.Expr, scope: Scope) -> Scope:
        """A scope with nothing but the item; ``scope`` is what stands before it."""
        if isinstance(item, exp.Subquery) and isinstance(item.this, exp.Table | exp.Subquery):
            return self._parenthesised(item, scope)
        if isinstance(item, exp.Table) and not isinstance(item.this, exp.Anonymous):
            found = _named(item, _common(item, scope), folded(item.this))
        elif isinstance(item, exp.Subquery | exp.Values):
            found = _named(item, self._trace(item, scope.beside()))
        else:
            found = self._lateral(item, scope)
        for join in item.args.get("joins") or ():
            found = self._join(join, found, scope.beside())
        return found

    def _parenthesised(self, item: exp.Subquery, scope: Scope) -> Scope:
        """A join in parentheses; an alias hides the names of the tables within."""
        found = self._item(item.this, scope)
        inner = replace(found, common=scope.common, outer=scope.outer)
        for join in item.args.get("joins") or ():
            inner = self._join(join, inner, scope.beside())
        return _named(item, inner.star) if item.args.get("alias") is not None else inner

    def _lateral(self, item: exp.Expr, scope: Scope) -> Scope:
        """A function or query that sees what stands before it."""
        inner = item.this if isinstance(item, exp.Lateral) else item
        if isinstance(inner, exp.Subquery):
            return _named(item, self._trace(inner, scope.inside()))
        call = inner.this if isinstance(inner, exp.Table) else inner
        if not isinstance(call, exp.Anonymous | exp.Unnest):
            raise Unresolved(f"{call.key.upper()} in a FROM is not understood")
        if isinstance(call, exp.Anonymous):
            check_call(call)
        name = function_name(call) if isinstance(call, exp.Anonymous) else "unnest"
        return _named(item, self._called(call, scope), name)

    def _called(self, call: exp.Expr, scope: Scope) -> Relation:
        """Of a function, each column and the number of rows come from all arguments."""
        inside = scope.inside()
        reads = union(self._expressions.read(each, inside) for each in call.expressions)
        return Relation(rows=reads, unlisted=reads)


def _is_comma(join: exp.Join) -> bool:
    return not any(value for key, value in join.args.items() if key != "this")


def _common(item: exp.Table, scope: Scope) -> Relation:
    name = folded(item.this)
    if item.args.get("db") or name not in scope.common:
        raise Unresolved(f"it reads {exp.table_name(item)}, which is none of the job's inputs")
    return scope.common[name]


def _named(item: exp.Expr, relation: Relation, name: str | None = None) -> Scope:
    """A scope with a relation under its alias, and with the alias's names for its columns."""
    alias = item.args.get("alias")
    if alias is not None:
        name = folded(alias.this) if alias.this else name
        relation = relation.renamed([folded(_identifier(each)) for each in alias.columns])
    return Scope({}, {name: relation} if name else {}, relation)


def _identifier(column: exp.Expr) -> exp.Expr:
    """The name in a column list, which may have a type."""
    return column.this if isinstance(column, exp.ColumnDef) else column


def _shared(join: exp.Join, left: Relation, right: Relation) -> tuple[str, ...]:
    """The columns by which USING or NATURAL joins."""
    if join.method == "NATURAL":
        if left.unlisted is not None or right.unlisted is not None:
            raise Unresolved("a NATURAL JOIN needs the columns of both sides to be known")
        return tuple(name for name, _ in left.columns if name and right.column(name) is not None)
    return tuple(folded(each) for each in join.args.get("using") or ())


def _beside(scope: Scope, item: Scope, shared: tuple[str, ...]) -> Scope:
    """Both together: ``*`` gives what they share once and first, then the left, then the right."""
    left, right = scope.star, item.star
    keys = {name: _key(name, left, right) for name in shared}
    star = Relation(
        columns=(*keys.items(), *_others(left, keys), *_others(right, keys)),
        rows=left.rows | right.rows | union(keys.values()),
        unlisted=_either_unlisted(left, right),
        is_ordered=left.is_ordered and right.is_ordered,
    )
    return replace(scope, tables={**scope.tables, **item.tables}, star=star)


def _key(name: str, left: Relation, right: Relation) -> Reads:
    found = left.possible_column(name), right.possible_column(name)
    if found[0] is None or found[1] is None:
        raise Unresolved(f"a join goes by {name!r}, which one side is not known to have")
    return found[0] | found[1]


def _others(side: Relation, keys: Mapping[str, Reads]) -> list[tuple[str | None, Reads]]:
    return [(name, reads) for name, reads in side.columns if name not in keys]


def _either_unlisted(left: Relation, right: Relation) -> Reads | None:
    if left.unlisted is None and right.unlisted is None:
        return None
    return (left.unlisted or NOTHING) | (right.unlisted or NOTHING)
