"""The SQL grammar supported by the tracer; any other syntax leaves a query unresolved.

An allow-list of sqlglot's nodes and their arguments. A node or argument added by a later release of
sqlglot is therefore rejected until its effect on lineage has been considered.
"""

from __future__ import annotations

from collections.abc import Iterable, Mapping
from typing import Any

from sqlglot import exp

from engine.lineage.sql.unresolved import Unresolved

_BINARY = {"this", "expression", "typed", "safe", "negate", "only_json_types"}
_OPERATORS = (
    exp.Add, exp.Adjacent, exp.And, exp.ArrayContainedBy, exp.ArrayContainsAll, exp.ArrayOverlaps,
    exp.BitwiseAnd, exp.BitwiseLeftShift, exp.BitwiseOr, exp.BitwiseRightShift, exp.BitwiseXor,
    exp.DPipe, exp.Distance, exp.Div, exp.EQ, exp.Escape, exp.GT, exp.GTE, exp.ILike, exp.Is,
    exp.JSONBContainsTopKey, exp.JSONBExtract, exp.JSONBExtractScalar, exp.JSONExtract,
    exp.JSONExtractScalar, exp.LT, exp.LTE, exp.Like, exp.Mod, exp.Mul, exp.NEQ, exp.NullSafeEQ,
    exp.NullSafeNEQ, exp.Or, exp.Overlaps, exp.Pow, exp.RegexpILike, exp.RegexpLike, exp.SimilarTo,
    exp.Sub,
)  # fmt: skip
_WRAPPERS = (
    exp.All, exp.Any, exp.BitwiseNot, exp.Cbrt, exp.Exists, exp.From, exp.Having, exp.Neg, exp.Not,
    exp.Paren, exp.Sqrt, exp.Variadic, exp.Where,
)  # fmt: skip
_LISTS = exp.Array, exp.Cube, exp.GroupingSets, exp.Rollup, exp.Tuple
_CONSTANTS = exp.CurrentCatalog, exp.CurrentDate, exp.CurrentUser, exp.SessionUser, exp.Null
_CLAUSES: dict[type[exp.Expr], set[str]] = {
    exp.Select: {
        "with_", "distinct", "expressions", "from_", "joins", "where", "group", "having",
        "windows", "order", "limit", "offset",
    },
    exp.Union: {"with_", "this", "expression", "distinct", "order", "limit", "offset"},
    exp.Subquery: {"with_", "this", "alias", "joins", "order", "limit", "offset"},
    exp.Values: {"expressions", "alias", "order", "limit", "offset"},
    exp.Table: {"this", "db", "alias", "joins", "ordinality"},
    exp.Lateral: {"this", "alias", "ordinality"},
    exp.Unnest: {"expressions", "alias", "offset"},
    exp.Join: {"this", "on", "using", "side", "kind", "method"},
    exp.With: {"expressions", "recursive"},
    exp.CTE: {"this", "alias", "materialized"},
    exp.TableAlias: {"this", "columns"},
    exp.ColumnDef: {"this", "kind"},
    exp.Group: {"expressions", "cube", "rollup", "grouping_sets"},
    exp.Order: {"this", "expressions"},
    exp.Ordered: {"this", "desc", "nulls_first"},
    exp.Distinct: {"expressions", "on"},
    exp.Limit: {"expression"},
    exp.Offset: {"expression"},
    exp.Fetch: {"direction", "count", "limit_options"},
    exp.LimitOptions: {"rows", "with_ties"},
}  # fmt: skip
_EXPRESSIONS: dict[type[exp.Expr], set[str]] = {
    exp.Alias: {"this", "alias"},
    exp.Anonymous: {"this", "expressions"},
    exp.AtTimeZone: {"this", "zone"},
    exp.Between: {"this", "low", "high", "symmetric"},
    exp.BitString: {"this"},
    exp.Boolean: {"this"},
    exp.Bracket: {"this", "expressions"},
    exp.ByteString: {"this", "is_bytes"},
    exp.Case: {"this", "ifs", "default"},
    exp.Cast: {"this", "to"},
    exp.Collate: {"this", "expression"},
    exp.Column: {"this", "table"},
    exp.CurrentTimestamp: {"this", "sysdate"},
    exp.DataType: {"this", "expressions", "nested", "kind", "values"},
    exp.DataTypeParam: {"this"},
    exp.Dot: {"this", "expression"},
    exp.Extract: {"this", "expression"},
    exp.Filter: {"this", "expression"},
    exp.HexString: {"this"},
    exp.Identifier: {"this", "quoted"},
    exp.If: {"this", "true"},
    exp.In: {"this", "query", "expressions"},
    exp.Interval: {"this", "unit"},
    exp.JSONPath: {"expressions"},
    exp.JSONPathKey: {"this"},
    exp.JSONPathRoot: set(),
    exp.JSONPathSubscript: {"this"},
    exp.Kwarg: {"this", "expression"},
    exp.Literal: {"this", "is_string"},
    exp.Localtime: {"this"},
    exp.Localtimestamp: {"this"},
    exp.National: {"this"},
    exp.Overlay: {"this", "expression", "from_", "for_"},
    exp.PropertyEQ: {"this", "expression"},
    exp.RawString: {"this"},
    exp.Slice: {"this", "expression"},
    exp.Star: set(),
    exp.StrPosition: {"this", "substr"},
    exp.Substring: {"this", "start", "length"},
    exp.Trim: {"this", "position", "expression"},
    exp.UnicodeString: {"this", "escape"},
    exp.Var: {"this"},
    exp.Window: {"this", "partition_by", "order", "spec", "over", "alias"},
    exp.WindowSpec: {"kind", "start", "start_side", "end", "end_side", "exclude"},
    exp.WithinGroup: {"this", "expression"},
}
_KNOWN: Mapping[type[exp.Expr], frozenset[str]] = {
    **{kind: frozenset(_BINARY) for kind in _OPERATORS},
    **{kind: frozenset({"this"}) for kind in _WRAPPERS},
    **{kind: frozenset({"expressions", "value_constructor"}) for kind in _LISTS},
    **{kind: frozenset[str]() for kind in _CONSTANTS},
    **{kind: frozenset(_CLAUSES[exp.Union]) for kind in (exp.Except, exp.Intersect)},
    **{kind: frozenset(args) for kind, args in (_CLAUSES | _EXPRESSIONS).items()},
}
_WORDS: dict[tuple[type[exp.Expr], str], set[str]] = {
    (exp.Join, "side"): {"LEFT", "RIGHT", "FULL"},
    (exp.Join, "kind"): {"INNER", "OUTER", "CROSS"},
    (exp.Join, "method"): {"NATURAL"},
    (exp.Window, "over"): {"OVER"},
    (exp.Fetch, "direction"): {"FIRST", "NEXT"},
}


def check_grammar(root: exp.Expr) -> None:
    """Raise Unresolved for unsupported syntax in a query."""
    for node in root.walk():
        known = _KNOWN.get(type(node))
        if known is None:
            raise Unresolved(f"{node.key.upper()} is not understood")
        for name, value in node.args.items():
            _check_argument(node, name, value, known)


def _check_argument(node: exp.Expr, name: str, value: Any, known: frozenset[str]) -> None:
    if value is None or value is False or value == []:
        return
    words = _WORDS.get((type(node), name))
    if name not in known or (words is not None and str(value).upper() not in words):
        raise Unresolved(f"{node.key.upper()} has {name.strip('_')}, which is not understood")
    if isinstance(node, exp.DataType) and _has_columns(value):
        raise Unresolved("a type with parameters that are no constants is not understood")


def _has_columns(value: Any) -> bool:
    parts: Iterable[Any] = value if isinstance(value, list) else [value]
    return any(isinstance(part, exp.Expr) and part.find(exp.Column, exp.Query) for part in parts)
