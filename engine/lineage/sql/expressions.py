"""The input columns read by expressions."""

from __future__ import annotations

from collections.abc import Callable, Collection, Iterator, Sequence

from sqlglot import exp

from engine.lineage.sql.functions import (
    BY_ORDER,
    SETS,
    UNDERSTOOD,
    may_be_column,
    may_be_field,
)
from engine.lineage.sql.parse import folded
from engine.lineage.sql.relation import NOTHING, Reads, Relation, union
from engine.lineage.sql.scope import Scope
from engine.lineage.sql.unresolved import Unresolved
from engine.model.identifiers import fold

Trace = Callable[[exp.Expr, Scope], Relation]

_QUERIES = exp.Query, exp.Values
_AROUND_FUNCTIONS = exp.Filter, exp.IgnoreNulls, exp.RespectNulls
_LISTS_OF_KEYS = (
    exp.Group,
    exp.GroupingSets,
    exp.Cube,
    exp.Rollup,
    exp.Order,
    exp.Ordered,
    exp.Tuple,
    exp.Paren,
)


class Expressions:
    """Collector of the input columns read by expressions; records each column visited.

    ``all_columns`` is every column of every input, on which the order of unordered rows depends.
    ``user_functions`` are the names of functions outside pg_catalog.
    """

    def __init__(
        self, trace: Trace, all_columns: Reads, user_functions: Collection[str] = ()
    ) -> None:
        self._trace = trace
        self._all_columns = all_columns
        self._user_functions = user_functions
        self._met: set[int] = set()

    def read(self, node: exp.Expr | None, scope: Scope) -> Reads:
        """Return the input columns on which the value depends. Raises Unresolved."""
        if node is None or isinstance(node, exp.DataType | exp.Star):
            return NOTHING
        if isinstance(node, exp.Column):
            return self._column(node, scope)
        if isinstance(node, _QUERIES):
            relation = self._trace(node, scope.inside())
            return relation.everything | relation.rows
        if isinstance(node, exp.Exists):
            return self._trace(node.this, scope.inside()).rows
        if isinstance(node, exp.Identifier | exp.Var):
            # The parser may have taken a column for an identifier of another kind.
            return scope.possible_column(folded(node)) or NOTHING
        return self._parts(node, scope)

    def key(self, node: exp.Expr | None, items: Relation, scope: Scope) -> Reads:
        """Return the reads of a list of keys, possibly SELECT items by name or number."""
        if isinstance(node, _LISTS_OF_KEYS):
            return union(self.key(part, items, scope) for part in node.iter_expressions())
        if isinstance(node, exp.Literal) and not node.is_string:
            return _numbered(node, items)
        if isinstance(node, exp.Column) and not node.table and not node.is_star:
            self._met.add(id(node))
            return _either(folded(node.this), items, scope)
        return self.read(node, scope)

    def multiplied(self, node: exp.Expr | None, scope: Scope) -> Reads:
        """Return the reads that determine the number of rows returned by set functions."""
        calls = [part for part in _within(node) if isinstance(part, exp.Anonymous)]
        return union(self.read(call, scope) for call in calls if function_name(call) in SETS)

    def check_complete(self, root: exp.Expr) -> None:
        """Raise Unresolved if the tree contains a column that was never visited."""
        for column in root.find_all(exp.Column):
            if id(column) not in self._met:
                raise Unresolved(f"{column.sql('postgres')} stands where it is not understood")

    def _column(self, node: exp.Column, scope: Scope) -> Reads:
        self._met.add(id(node))
        if node.args.get("db"):
            raise Unresolved(f"{node.sql('postgres')} has more parts than a table and a column")
        table = node.args.get("table")
        if table is not None and node.is_star:
            return scope.table(folded(table)).everything
        name = folded(node.this)
        if table is None:
            return scope.column(name)
        is_certain = scope.table(folded(table)).column(name) is not None
        if not is_certain and (name in self._user_functions or not may_be_column(name)):
            raise Unresolved(f"{node.sql('postgres')} may be a function of the whole row")
        return scope.qualified(folded(table), name)

    def _parts(self, node: exp.Expr, scope: Scope) -> Reads:
        """Return the reads of all parts, plus all inputs if the value depends on row order."""
        if isinstance(node, exp.Anonymous):
            check_call(node)
        if isinstance(node, exp.Dot):
            self._check_field(node.expression)
        reads = union(self.read(part, scope) for part in _read_parts(node))
        return reads | self._all_columns if _depends_on_row_order(node) else reads

    def _check_field(self, field: exp.Expr) -> None:
        """Raise Unresolved if ``(x).field`` may be a function call affecting other rows."""
        if isinstance(field, exp.Star):
            return
        is_name = isinstance(field, exp.Identifier)
        name = folded(field) if is_name else field.name
        if not is_name or name in self._user_functions or not may_be_field(name):
            raise Unresolved(f"{name!r} behind a dot may be a function")


def check_call(node: exp.Anonymous) -> None:
    """Raise Unresolved for a function outside the list of supported functions."""
    name = function_name(node)
    if name not in UNDERSTOOD:
        raise Unresolved(f"the function {name!r} is not understood")


def function_name(node: exp.Anonymous) -> str:
    """Return the name of the called function as stored in the catalog."""
    return folded(node.this) if isinstance(node.this, exp.Identifier) else fold(str(node.this))


def _numbered(node: exp.Literal, items: Relation) -> Reads:
    number = int(node.name) if node.is_int else 0
    if items.has_positions and 1 <= number <= len(items.columns):
        return items.columns[number - 1][1]
    return items.everything


def _either(name: str, items: Relation, scope: Scope) -> Reads:
    """Return the reads of a SELECT item or an input column with this name, or of both.

    GROUP BY and ORDER BY differ in their precedence.
    """
    candidates = [items.possible_column(name), scope.possible_column(name)]
    if candidates == [None, None]:
        raise Unresolved(f"no table here is known to have the column {name!r}")
    return union(reads for reads in candidates if reads is not None)


def _within(node: exp.Expr | None) -> Iterator[exp.Expr]:
    """Iterate over an expression and its parts, excluding subqueries."""
    if node is not None and not isinstance(node, _QUERIES):
        yield node
        for part in node.iter_expressions():
            yield from _within(part)


def _read_parts(node: exp.Expr) -> Iterator[exp.Expr]:
    """Iterate over the parts that are expressions, including those of named windows."""
    if isinstance(node, exp.Extract | exp.Kwarg | exp.PropertyEQ):
        # The other part is a unit or a parameter name, never a column.
        yield node.expression
    elif isinstance(node, exp.Alias | exp.Collate | exp.Dot | exp.Interval):
        # The other part is a name, a collation, a field or a unit, never a column.
        yield node.this
    elif isinstance(node, exp.Window):
        yield node.this
        for definition in _definitions(node):
            clauses = (
                definition.args.get("partition_by"),
                definition.args.get("order"),
                definition.args.get("spec"),
            )
            for clause in clauses:
                yield from clause if isinstance(clause, list) else [clause] if clause else []
    else:
        yield from node.iter_expressions()


def _definitions(window: exp.Window) -> Sequence[exp.Window]:
    """Return the window, followed by the windows of the WINDOW clause on which it is based."""
    name = window.args.get("alias")
    if name is None:
        return [window]
    select = window.find_ancestor(exp.Select)
    named = select.args.get("windows") or [] if select else []
    for definition in named:
        if folded(definition.this) == folded(name):
            return [window, *_definitions(definition)]
    raise Unresolved(f"there is no window {name.name!r}")


def _depends_on_row_order(node: exp.Expr) -> bool:
    """Return whether the value depends on the order of rows without an ORDER BY."""
    if isinstance(node, exp.Window):
        framed = any(definition.args.get("spec") for definition in _definitions(node))
        return framed and not _is_window_ordered(node)
    return (
        isinstance(node, exp.Anonymous)
        and function_name(node) in BY_ORDER
        and not _is_ordered(node)
    )


def _is_ordered(node: exp.Anonymous) -> bool:
    """Return whether the call's rows are ordered.

    ORDER BY may be in the call, after it, in its window, or in the query that is its argument.
    """
    if any(
        isinstance(argument, exp.Order) or argument.args.get("order")
        for argument in node.expressions
    ):
        return True
    parent = node.parent
    while isinstance(parent, _AROUND_FUNCTIONS):
        parent = parent.parent
    if isinstance(parent, exp.Window):
        return _is_window_ordered(parent)
    return isinstance(parent, exp.WithinGroup)


def _is_window_ordered(window: exp.Window) -> bool:
    return any(definition.args.get("order") for definition in _definitions(window))
