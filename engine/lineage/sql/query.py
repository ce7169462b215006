"""Lineage tracing of a query from its inputs to its columns.

A tree of relations as in Cui, Widom and Wiener, "Tracing the lineage of view data in a warehousing
environment" (2000), except that reads affecting the set of rows and reads forming a column are
separate.
"""

from __future__ import annotations

from collections.abc import Collection, Iterable
from dataclasses import replace

from sqlglot import exp

from engine.lineage.sql.expressions import Expressions
from engine.lineage.sql.names import column_name
from engine.lineage.sql.parse import folded
from engine.lineage.sql.relation import NOTHING, Reads, Relation, union
from engine.lineage.sql.scope import Scope
from engine.lineage.sql.tables import Tables


class Tracer:
    """Tracer of one query. Its outermost ORDER BY is ignored because table rows have no order.

    ``all_columns`` is every column of every input.
    """

    def __init__(
        self, root: exp.Expr, all_columns: Reads, user_functions: Collection[str] = ()
    ) -> None:
        self._root = root
        self._all_columns = all_columns
        self._expressions = Expressions(self.trace, all_columns, user_functions)
        self._tables = Tables(self.trace, self._expressions)

    def run(self, scope: Scope) -> Relation:
        """Return the relation of the entire query. Raises Unresolved."""
        relation = self.trace(self._root, scope)
        self._expressions.check_complete(self._root)
        return relation

    def trace(self, node: exp.Expr, scope: Scope) -> Relation:
        """Return the relation of a query in a scope of WITH queries and outer queries."""
        scope = self._with(node.args.get("with_"), scope)
        if isinstance(node, exp.Select):
            return self._select(node, scope)
        if isinstance(node, exp.SetOperation):
            relation = self._set_operation(node, scope)
        elif isinstance(node, exp.Values):
            relation = self._values(node, scope)
        else:
            relation = self.trace(node.this, scope)
        return relation.shaped(self._moved_by_order(node, relation, scope))

    def _with(self, clause: exp.Expr | None, scope: Scope) -> Scope:
        if clause is None:
            return scope
        recursive = bool(clause.args.get("recursive"))
        names = [folded(cte.args["alias"].this) for cte in clause.expressions]
        for name in names if recursive else ():
            # The name may refer to a later WITH query and not to the input with that name.
            scope = scope.with_common(name, None)
        for name, cte in zip(names, clause.expressions, strict=True):
            scope = scope.with_common(name, self._common(cte, scope, name if recursive else None))
        return scope

    def _common(self, table: exp.CTE, scope: Scope, name: str | None) -> Relation:
        columns = [folded(column) for column in table.args["alias"].columns]
        query = table.this
        if name is not None and isinstance(query, exp.SetOperation):
            return self._recursive(query, scope, name, columns)
        return self.trace(query, scope).renamed(columns)

    def _recursive(
        self, query: exp.SetOperation, scope: Scope, name: str, columns: list[str]
    ) -> Relation:
        """Iterate to a fixpoint, as in semi-naive evaluation."""
        previous, relation = None, self.trace(query.this, scope).renamed(columns)
        while relation != previous:
            previous = relation
            relation = self.trace(query, scope.with_common(name, previous)).renamed(columns)
        return relation

    def _select(self, select: exp.Select, scope: Scope) -> Relation:
        scope = self._from(select, scope)
        items = self._items(select, scope)
        moving = [
            *(self._expressions.read(select.args.get(key), scope) for key in _CONDITIONS),
            *(self._expressions.multiplied(item, scope) for item in select.expressions),
            self._expressions.key(select.args.get("group"), items, scope),
            self._distinct(select, items, scope),
            self._moved_by_order(select, items, scope),
        ]
        return items.shaped(union(moving))

    def _from(self, select: exp.Select, scope: Scope) -> Scope:
        clause = select.args.get("from_")
        if clause is None:
            return scope
        return self._tables.scope(clause.this, select.args.get("joins") or (), scope)

    def _items(self, select: exp.Select, scope: Scope) -> Relation:
        parts = [self._item(item, scope) for item in select.expressions]
        unlisted = [part.unlisted for part in parts if part.unlisted is not None]
        return Relation(
            columns=tuple(column for part in parts for column in part.columns),
            rows=scope.star.rows,
            unlisted=union(unlisted) if unlisted else None,
            is_ordered=all(part.is_ordered for part in parts),
        )

    def _item(self, item: exp.Expr, scope: Scope) -> Relation:
        """Return the relation of a SELECT list entry: one column, or all columns of a star."""
        if isinstance(item, exp.Star):
            return scope.star
        reads = self._expressions.read(item, scope)
        if isinstance(item, exp.Column) and item.is_star:
            return scope.table(folded(item.args["table"]))
        return Relation(((column_name(item), reads),))

    def _distinct(self, select: exp.Select, items: Relation, scope: Scope) -> Reads:
        distinct = select.args.get("distinct")
        if distinct is None:
            return NOTHING
        on = distinct.args.get("on")
        if on is None:
            return items.everything
        order = select.args.get("order")
        first = self._expressions.key(order, items, scope) if order else self._all_columns
        return self._expressions.key(on, items, scope) | first

    def _moved_by_order(self, query: exp.Expr, relation: Relation, scope: Scope) -> Reads:
        """Return the reads of ORDER BY, LIMIT and OFFSET that affect the set of rows.

        The order of a subquery counts, because the result of the outer query may depend on it.
        """
        args = query.args
        bounds = [clause for clause in (args.get("limit"), args.get("offset")) if clause]
        bound = union(self._expressions.read(clause, scope) for clause in bounds)
        order = args.get("order")
        keys = self._expressions.key(order, relation, scope)
        if query is self._root and not bounds:
            return self._expressions.multiplied(order, scope)
        return bound | keys | (self._all_columns if bounds and not order else NOTHING)

    def _set_operation(self, node: exp.SetOperation, scope: Scope) -> Relation:
        left, right = (self.trace(side, scope) for side in (node.this, node.expression))
        everything = left.everything | right.everything
        relation = replace(
            left,
            columns=tuple(_paired(left, right, everything)),
            rows=left.rows | right.rows,
            unlisted=None if left.unlisted is None else everything,
        )
        keeps_all = isinstance(node, exp.Union) and not node.args.get("distinct")
        return relation if keeps_all else relation.shaped(everything)

    def _values(self, node: exp.Values, scope: Scope) -> Relation:
        tuples = [
            row.expressions if isinstance(row, exp.Tuple) else [row] for row in node.expressions
        ]
        rows = [[self._expressions.read(field, scope) for field in fields] for fields in tuples]
        columns = [union(column) for column in zip(*rows, strict=False)]
        return Relation(tuple((f"column{n}", reads) for n, reads in enumerate(columns, 1)))


_CONDITIONS = "where", "having", "qualify"


def _paired(
    left: Relation, right: Relation, everything: Reads
) -> Iterable[tuple[str | None, Reads]]:
    """Pair the columns by position; if positions are uncertain, each may come from any column."""
    has_positions = left.has_positions and right.has_positions
    if not has_positions or len(left.columns) != len(right.columns):
        return [(name, everything) for name, _ in left.columns]
    both = zip(left.columns, right.columns, strict=True)
    return [(name, reads | more) for (name, reads), (_, more) in both]
