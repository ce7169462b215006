"""Output columns of a SELECT that carry an input column unchanged and keep its values apart.

Input rows with a given value of such a column affect only output rows with the same value, so a row
filter on the column remains valid for the output. Aggregates, windows, DISTINCT ON, limits and the
padded side of an outer join mix rows, unless they are keyed by the column.
"""

from __future__ import annotations

from collections import Counter
from collections.abc import Iterable, Iterator, Mapping, Sequence
from dataclasses import replace
from itertools import zip_longest

from sqlglot import exp

from engine.lineage.sql.carried import Table, carried, items_of, keys_of
from engine.lineage.sql.functions import NOTHING_DEFINED, UserDefined
from engine.lineage.sql.parse import check_user_defined, folded, parse
from engine.lineage.sql.relation import NOTHING, Read, Reads
from engine.lineage.sql.unresolved import Unresolved


def preserved_columns(
    text: str,
    inputs: Mapping[str, Iterable[str] | None],
    others: Mapping[str, Iterable[str]] | None = None,
    user_defined: UserDefined = NOTHING_DEFINED,
) -> dict[str, Reads]:
    """Map each output column to the input columns it carries.

    Never raises: unsupported syntax carries nothing. ``inputs`` has the columns of each input by
    alias (None: unknown); ``others`` are further relations available in a FROM.
    """
    other_tables = {
        name: Table(tuple((column, NOTHING) for column in columns), has_positions=False)
        for name, columns in (others or {}).items()
    }
    tables = {alias: Table.of_input(alias, columns) for alias, columns in inputs.items()}
    try:
        parsed = parse(text)
        check_user_defined(parsed, user_defined)
        output = _query(parsed.query, {**other_tables, **tables})
    except (Unresolved, RecursionError):
        return {}
    counts = Counter(name for name, _ in output.columns)
    return {n: c for n, c in output.columns if n is not None and c and counts[n] == 1}


def _query(node: exp.Expr, common: Mapping[str, Table]) -> Table:
    common = _with(node.args.get("with_"), common)
    if isinstance(node, exp.Select):
        table = _select(node, common)
    elif isinstance(node, exp.SetOperation):
        table = _both(_query(node.this, common), _query(node.expression, common))
    elif isinstance(node, exp.Subquery):
        table = _query(node.this, common)
    else:
        raise Unresolved(f"{node.key.upper()} carries nothing")
    bounded = node.args.get("limit") or node.args.get("offset")
    return table.without(table.inputs) if bounded else table


def _with(clause: exp.Expr | None, common: Mapping[str, Table]) -> Mapping[str, Table]:
    if clause is None:
        return common
    if clause.args.get("recursive"):
        raise Unresolved("a recursive query carries nothing")
    for cte in clause.expressions:
        alias = cte.args["alias"]
        table = _renamed(_query(cte.this, common), alias.columns)
        common = {**common, folded(alias.this): table}
    return common


def _both(left: Table, right: Table) -> Table:
    """Combine both sides of a set operation.

    An input column is carried if it is carried on every side that reads the input.
    """
    inputs = left.inputs | right.inputs
    if not (left.has_positions and right.has_positions and len(left.columns) == len(right.columns)):
        return Table((), inputs, is_complete=False)
    columns = tuple(
        (name, frozenset(_agreed(left_reads, left, right_reads, right)))
        for (name, left_reads), (_, right_reads) in zip(left.columns, right.columns, strict=True)
    )
    return Table(columns, inputs)


def _agreed(left_reads: Reads, left: Table, right_reads: Reads, right: Table) -> Iterator[Read]:
    for read in left_reads | right_reads:
        in_left = read in left_reads or read.alias not in left.inputs
        if in_left and (read in right_reads or read.alias not in right.inputs):
            yield read


def _select(select: exp.Select, common: Mapping[str, Table]) -> Table:
    tables = _from(select, common)
    mixed = _named_within(select, common)
    inputs = mixed.union(*(table.inputs for table in tables.values()))
    keys = [_grouped(select, tables), *_windowed(select, tables), *_distinct_on(select, tables)]
    columns = tuple(
        (name, frozenset(r for r in c if all(key is None or r in key for key in keys)))
        for item in select.expressions
        for name, c in items_of(item, tables)
    )
    starred = tables.values() if any(item.is_star for item in select.expressions) else ()
    return Table(
        columns,
        inputs,
        has_positions=all(table.has_positions for table in starred),
        is_complete=all(table.is_complete for table in starred),
    ).without(mixed)


def _from(select: exp.Select, common: Mapping[str, Table]) -> dict[str, Table]:
    """Return the tables by alias; the padded side of an outer join carries nothing."""
    clause = select.args.get("from_")
    tables = _named(clause.this, common) if clause is not None else {}
    for join in select.args.get("joins") or ():
        joined = _merged(join, _named(join.this, common))
        if join.side in ("RIGHT", "FULL"):
            tables = {name: table.without(table.inputs) for name, table in tables.items()}
        if join.side in ("LEFT", "FULL"):
            joined = {name: table.without(table.inputs) for name, table in joined.items()}
        if tables.keys() & joined.keys():
            raise Unresolved("two tables of one name")
        tables |= joined
    twice = _twice(tables.values())
    return {name: table.without(twice) for name, table in tables.items()}


def _merged(join: exp.Join, joined: dict[str, Table]) -> dict[str, Table]:
    """Drop columns merged by USING, which belong to the tables on the left."""
    using = {folded(column) for column in join.args.get("using") or ()}
    if join.method or (using and join.side):
        raise Unresolved("columns that a natural or outer join merges carry nothing")
    if not using:
        return joined
    return {
        name: replace(
            table, columns=tuple(c for c in table.columns if c[0] not in using), has_positions=False
        )
        for name, table in joined.items()
    }


def _twice(tables: Iterable[Table]) -> frozenset[str]:
    """Return the inputs read by several tables: a row may stem from any of them."""
    seen: set[str] = set()
    twice: set[str] = set()
    for table in tables:
        twice |= seen & table.inputs
        seen |= table.inputs
    return frozenset(twice)


def _named(item: exp.Expr, common: Mapping[str, Table]) -> dict[str, Table]:
    alias = item.args.get("alias")
    if item.args.get("joins"):
        raise Unresolved("a join in brackets carries nothing")
    if isinstance(item, exp.Table) and isinstance(item.this, exp.Identifier):
        name = folded(item.this)
        if item.args.get("db") or name not in common:
            raise Unresolved(f"it reads {name}, which is none of the job's inputs")
        table = common[name]
    elif isinstance(item, exp.Subquery):
        name, table = "", _query(item, common)
    else:
        raise Unresolved(f"{item.key.upper()} in a FROM carries nothing")
    if alias is not None:
        table = _renamed(table, alias.columns)
        name = folded(alias.this) if alias.this else name
    return {name: table}


def _renamed(table: Table, names: Sequence[exp.Expr]) -> Table:
    if not names:
        return table
    if not table.has_positions:
        raise Unresolved("columns of a table are renamed by position")
    pairs = zip_longest(map(folded, names), table.columns)
    return replace(table, columns=tuple((name or old[0], old[1]) for name, old in pairs if old))


def _named_within(select: exp.Select, common: Mapping[str, Table]) -> frozenset[str]:
    """Return the inputs of subqueries in expressions, where all rows are read together."""
    excluded = {id(select.args.get("from_")), id(select.args.get("with_"))}
    parts = (part for part in select.iter_expressions() if id(part) not in excluded)
    conditions = (part.args.get("on") if isinstance(part, exp.Join) else part for part in parts)
    queries = (
        query for condition in conditions if condition for query in condition.find_all(exp.Query)
    )
    tables = (table for query in queries for table in query.find_all(exp.Table))
    names = (folded(table.this) for table in tables if isinstance(table.this, exp.Identifier))
    return frozenset[str]().union(*(common[n].inputs for n in names if n in common))


def _grouped(select: exp.Select, tables: Mapping[str, Table]) -> Reads | None:
    """Return the input columns carried by GROUP BY keys; None without a GROUP BY.

    Without one, no bare column is allowed beside an aggregate.
    """
    group = select.args.get("group")
    if group is None:
        return None
    if any(value for key, value in group.args.items() if key != "expressions"):
        return NOTHING  # grouping sets leave keys out
    return keys_of(group.expressions, select, tables)


def _windowed(select: exp.Select, tables: Mapping[str, Table]) -> Iterator[Reads]:
    """Iterate over the input columns carried by the PARTITION BY of each window.

    Named windows count as having no key, because their definitions may be based on others.
    """
    for window in _windows(select):
        named = window.args.get("alias") is not None
        by = () if named else window.args.get("partition_by") or ()
        yield NOTHING.union(*(carried(key, tables) for key in by))


def _windows(node: exp.Expr) -> Iterator[exp.Window]:
    """Iterate over the windows of a query, excluding its subqueries."""
    for child in node.iter_expressions():
        if isinstance(child, exp.Window):
            yield child
        if not isinstance(child, exp.Query | exp.With | exp.Table):
            yield from _windows(child)


def _distinct_on(select: exp.Select, tables: Mapping[str, Table]) -> Iterator[Reads]:
    distinct = select.args.get("distinct")
    if distinct is not None and distinct.args.get("on") is not None:
        yield keys_of(distinct.args["on"].expressions, select, tables)
