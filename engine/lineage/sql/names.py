"""Names assigned by Postgres to the columns of a SELECT."""

from sqlglot import exp

from engine.lineage.sql.expressions import function_name
from engine.lineage.sql.parse import folded

_NAMED_AS_ITS_PART = (
    exp.Bracket,
    exp.Cast,
    exp.Collate,
    exp.Filter,
    exp.IgnoreNulls,
    exp.Paren,
    exp.RespectNulls,
    exp.Window,
    exp.WithinGroup,
)


def column_name(item: exp.Expr) -> str | None:
    """Return the alias, column name or function name of a SELECT item; None for other expressions.

    After FigureColnameInternal in Postgres's parse_target.c, limited to columns and calls.
    """
    if isinstance(item, exp.Alias):
        return folded(item.args["alias"])
    if isinstance(item, exp.Column):
        return folded(item.this)
    if isinstance(item, exp.Anonymous):
        return function_name(item)
    if isinstance(item, exp.Dot):
        return column_name(item.expression) or _field(item.expression)
    return column_name(item.this) if isinstance(item, _NAMED_AS_ITS_PART) else None


def _field(item: exp.Expr) -> str | None:
    return folded(item) if isinstance(item, exp.Identifier) else None
