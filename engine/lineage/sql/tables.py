"""Scopes of FROM clauses: tables, joins, functions and subqueries, by Postgres's rules."""

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
    """Builder of the scope of a FROM clause."""

    def __init__(self, trace: Trace, expressions: Expressions) -> None:
        self._trace = trace
        self._expressions = expressions

    def scope(self, first: exp.Expr, joins: Iterable[exp.Join], scope: Scope) -> Scope:
        """Return the scope of the first table and all tables joined to it. Raises Unresolved.

        A comma binds less tightly than JOIN: joins after the comma are evaluated first.
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
        """Return the scope of both sides; reads of the join condition affect the rows."""
        right = self._item(join.this, _beside(before, left, ()))
        joined = _beside(left, right, _shared(join, left.star, right.star))
        seen = replace(joined, common=before.common, outer=before.outer)
        condition = self._expressions.read(join.args.get("on"), seen)
        return replace(joined, star=joined.star.shaped(condition))

    def _item(self, item: exp.Expr, scope: Scope) -> Scope:
        """Return a scope with only the item; ``scope`` is the FROM before it."""
        if isinstance(item, exp.Subquery) and isinstance(item.this, exp.Table | exp.Subquery):
            return self._parenthesised(item, scope)
        if isinstance(item, exp.Table) and not isinstance(item.this, exp.Anonymous):
            item_scope = _named(item, _common(item, scope), folded(item.this))
        elif isinstance(item, exp.Subquery | exp.Values):
            item_scope = _named(item, self._trace(item, scope.beside()))
        else:
            item_scope = self._lateral(item, scope)
        for join in item.args.get("joins") or ():
            item_scope = self._join(join, item_scope, scope.beside())
        return item_scope

    def _parenthesised(self, item: exp.Subquery, scope: Scope) -> Scope:
        """Return the scope of a join in parentheses; an alias hides the names of its tables."""
        inner = replace(self._item(item.this, scope), common=scope.common, outer=scope.outer)
        for join in item.args.get("joins") or ():
            inner = self._join(join, inner, scope.beside())
        return _named(item, inner.star) if item.args.get("alias") is not None else inner

    def _lateral(self, item: exp.Expr, scope: Scope) -> Scope:
        """Return the scope of a function or subquery that can refer to the FROM before it."""
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
        """Return the relation of a function; columns and row count depend on all arguments."""
        inside = scope.inside()
        reads = union(self._expressions.read(argument, inside) for argument in call.expressions)
        return Relation(rows=reads, unlisted=reads)


def _is_comma(join: exp.Join) -> bool:
    return not any(value for key, value in join.args.items() if key != "this")


def _common(item: exp.Table, scope: Scope) -> Relation:
    name = folded(item.this)
    if item.args.get("db") or name not in scope.common:
        raise Unresolved(f"it reads {exp.table_name(item)}, which is none of the job's inputs")
    return scope.common[name]


def _named(item: exp.Expr, relation: Relation, name: str | None = None) -> Scope:
    """Return a scope with a relation under its alias, with columns renamed by the alias."""
    alias = item.args.get("alias")
    if alias is not None:
        name = folded(alias.this) if alias.this else name
        relation = relation.renamed([folded(_identifier(column)) for column in alias.columns])
    return Scope({}, {name: relation} if name else {}, relation)


def _identifier(column: exp.Expr) -> exp.Expr:
    """Return the name in an entry of a column list, dropping the optional type."""
    return column.this if isinstance(column, exp.ColumnDef) else column


def _shared(join: exp.Join, left: Relation, right: Relation) -> tuple[str, ...]:
    """Return the join columns of USING or NATURAL."""
    if join.method == "NATURAL":
        if left.unlisted is not None or right.unlisted is not None:
            raise Unresolved("a NATURAL JOIN needs the columns of both sides to be known")
        return tuple(name for name, _ in left.columns if name and right.column(name) is not None)
    return tuple(folded(column) for column in join.args.get("using") or ())


def _beside(scope: Scope, item: Scope, shared: tuple[str, ...]) -> Scope:
    """Combine two scopes; ``*`` lists shared columns first and once, then left, then right."""
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
    left_reads, right_reads = left.possible_column(name), right.possible_column(name)
    if left_reads is None or right_reads is None:
        raise Unresolved(f"a join goes by {name!r}, which one side is not known to have")
    return left_reads | right_reads


def _others(side: Relation, keys: Mapping[str, Reads]) -> list[tuple[str | None, Reads]]:
    return [(name, reads) for name, reads in side.columns if name not in keys]


def _either_unlisted(left: Relation, right: Relation) -> Reads | None:
    if left.unlisted is None and right.unlisted is None:
        return None
    return (left.unlisted or NOTHING) | (right.unlisted or NOTHING)
