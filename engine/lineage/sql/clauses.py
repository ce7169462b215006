"""Which clauses of a query are understood."""

from sqlglot import exp

from engine.lineage.sql.parse import Unresolved

_PLAIN = {
    exp.Select: {
        "with_", "distinct", "expressions", "from_", "joins", "where", "group", "having",
        "qualify", "windows", "order", "limit", "offset",
    },
    exp.SetOperation: {"with_", "this", "expression", "distinct", "order", "limit", "offset"},
    exp.Subquery: {"with_", "this", "alias", "joins", "order", "limit", "offset"},
    exp.Values: {"expressions", "alias", "order", "limit", "offset"},
    exp.Table: {"this", "db", "alias", "joins", "ordinality"},
    exp.Lateral: {"this", "alias", "ordinality"},
    exp.Unnest: {"expressions", "alias", "offset"},
    exp.Join: {"this", "on", "using", "side", "kind", "method"},
    exp.With: {"expressions", "recursive"},
    exp.CTE: {"this", "alias", "materialized"},
    exp.TableAlias: {"this", "columns"},
    exp.Star: set(),
}  # fmt: skip


def check_clauses(node: exp.Expr) -> None:
    """Raise Unresolved where a part of the query has a clause that is not understood."""
    known = next((keys for kind, keys in _PLAIN.items() if isinstance(node, kind)), None)
    if known is None:
        raise Unresolved(f"{node.key.upper()} is not understood")
    others = sorted(key for key, value in node.args.items() if value and key not in known)
    if others:
        raise Unresolved(f"{node.key.upper()} has {others[0].strip('_')}, which is not understood")
