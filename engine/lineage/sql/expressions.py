"""What an expression reads."""

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
    """Reads expressions, and remembers which columns it met.

    ``whole`` is all of every input: what decides in which order rows come that nothing orders.
    ``user_functions`` are the names of functions outside of pg_catalog.
    """

    def __init__(self, trace: Trace, whole: Reads, user_functions: Collection[str] = ()) -> None:
        self._trace = trace
        self._whole = whole
        self._user_functions = user_functions
        self._met: set[int] = set()

    def read(self, node: exp.Expr | None, scope: Scope) -> Reads:
        """All that the value depends on. Raises Unresolved."""
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
            # Where the parser saw no column, it may still be one.
            return scope.possible_column(folded(node)) or NOTHING
        return self._parts(node, scope)

    def key(self, node: exp.Expr | None, items: Relation, scope: Scope) -> Reads:
        """What a list of keys reads, which may be a SELECT's items by name or number."""
        if isinstance(node, _LISTS_OF_KEYS):
            return union(self.key(each, items, scope) for each in node.iter_expressions())
        if isinstance(node, exp.Literal) and not node.is_string:
            return _numbered(node, items)
        if isinstance(node, exp.Column) and not node.table and not node.is_star:
            self._met.add(id(node))
            return _either(folded(node.this), items, scope)
        return self.read(node, scope)

    def multiplied(self, node: exp.Expr | None, scope: Scope) -> Reads:
        """What decides how many rows come of one, where functions may give many."""
        calls = [each for each in _within(node) if isinstance(each, exp.Anonymous)]
        return union(self.read(each, scope) for each in calls if function_name(each) in SETS)

    def check_complete(self, root: exp.Expr) -> None:
        """Raise Unresolved where the tree has a column that was never read."""
        for each in root.find_all(exp.Column):
            if id(each) not in self._met:
                raise Unresolved(f"{each.sql('postgres')} stands where it is not understood")

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
        """The reads of an expression's parts, with all inputs where the order of rows counts."""
        if isinstance(node, exp.Anonymous):
            check_call(node)
        if isinstance(node, exp.Dot):
            self._check_field(node.expression)
        reads = union(self.read(each, scope) for each in _read_parts(node))
        return reads | self._whole if _goes_by_chance(node) else reads

    def _check_field(self, field: exp.Expr) -> None:
        """Raise Unresolved where ``(x).field`` may be a call with an effect on other rows."""
        if isinstance(field, exp.Star):
            return
        is_name = isinstance(field, exp.Identifier)
        name = folded(field) if is_name else field.name
        if not is_name or name in self._user_functions or not may_be_field(name):
            raise Unresolved(f"{name!r} behind a dot may be a function")


def check_call(node: exp.Anonymous) -> None:
    """Raise Unresolved for a function that is not in the list of those understood."""
    name = function_name(node)
    if name not in UNDERSTOOD:
        raise Unresolved(f"the function {name!r} is not understood")


def function_name(node: exp.Anonymous) -> str:
    """A function as Postgres knows it."""
    return folded(node.this) if isinstance(node.this, exp.Identifier) else fold(str(node.this))


def _numbered(node: exp.Literal, items: Relation) -> Reads:
    number = int(node.name) if node.is_int else 0
    if items.has_places and 1 <= number <= len(items.columns):
        return items.columns[number - 1][1]
    return items.everything


def _either(name: str, items: Relation, scope: Scope) -> Reads:
    """An item or an input column; which comes first is another in GROUP BY and in ORDER BY."""
    found = [items.possible_column(name), scope.possible_column(name)]
    if found == [None, None]:
        raise Unresolved(f"no table here is known to have the column {name!r}")
    return union(each for each in found if each is not None)


def _within(node: exp.Expr | None) -> Iterator[exp.Expr]:
    """The expression and its parts, without the queries in it."""
    if node is not None and not isinstance(node, _QUERIES):
        yield node
        for each in node.iter_expressions():
            yield from _within(each)


def _read_parts(node: exp.Expr) -> Iterator[exp.Expr]:
    """The parts that are expressions, with those of the windows that are named."""
    if isinstance(node, exp.Extract | exp.Kwarg | exp.PropertyEQ):
        # The rest is a unit or the name of a parameter, and never a column.
        yield node.expression
    elif isinstance(node, exp.Alias | exp.Collate | exp.Dot | exp.Interval):
        # The rest is a name, a collation, a field or a unit, and never a column.
        yield node.this
    elif isinstance(node, exp.Window):
        yield node.this
        for each in _definitions(node):
            clauses = each.args.get("partition_by"), each.args.get("order"), each.args.get("spec")
            for clause in clauses:
                yield from clause if isinstance(clause, list) else [clause] if clause else []
    else:
        yield from node.iter_expressions()


def _definitions(window: exp.Window) -> Sequence[exp.Window]:
    """The window, and those of the WINDOW clause that it builds on."""
    name = window.args.get("alias")
    if name is None:
        return [window]
    select = window.find_ancestor(exp.Select)
    named = select.args.get("windows") or [] if select else []
    for each in named:
        if folded(each.this) == folded(name):
            return [window, *_definitions(each)]
    raise Unresolved(f"there is no window {name.name!r}")


def _goes_by_chance(node: exp.Expr) -> bool:
    """Whether the value goes by an order of rows that nothing decides."""
    if isinstance(node, exp.Window):
        framed = any(each.args.get("spec") for each in _definitions(node))
        return framed and not _is_window_ordered(node)
    return (
        isinstance(node, exp.Anonymous)
        and function_name(node) in BY_ORDER
        and not _is_ordered(node)
    )


def _is_ordered(node: exp.Anonymous) -> bool:
    """Whether an ORDER BY stands in the call, behind it, in its window or in the query it takes."""
    if any(isinstance(each, exp.Order) or each.args.get("order") for each in node.expressions):
        return True
    around = node.parent
    while isinstance(around, _AROUND_FUNCTIONS):
        around = around.parent
    if isinstance(around, exp.Window):
        return _is_window_ordered(around)
    return isinstance(around, exp.WithinGroup)


def _is_window_ordered(window: exp.Window) -> bool:
    return any(each.args.get("order") for each in _definitions(window))
