"""From the text of a SELECT to its syntax tree."""

from functools import lru_cache
from typing import ClassVar

from sqlglot import exp
from sqlglot.dialects.postgres import Postgres
from sqlglot.errors import ErrorLevel, SqlglotError
from sqlglot.parsers.postgres import PostgresParser
from sqlglot.tokenizer_core import TokenType

_KEYWORDS_INSIDE = {"CAST", "EXTRACT", "OVERLAY", "POSITION", "SUBSTRING", "TRIM"}
_MOST_BYTES = 63


class Unresolved(Exception):
    """Where the columns of a query come from cannot be told; the text says why."""


class _Parser(PostgresParser):
    """Leaves functions as they are called.

    Otherwise ``date_trunc(unit, t)`` loses its column ``unit``, and ``f(x -> 'a')`` is taken for a
    lambda, which has no column ``x``.
    """

    FUNCTIONS: ClassVar = {}
    FUNCTION_PARSERS: ClassVar = {
        name: parse
        for name, parse in PostgresParser.FUNCTION_PARSERS.items()
        if name in _KEYWORDS_INSIDE
    }
    LAMBDAS: ClassVar = {TokenType.FARROW: PostgresParser.LAMBDAS[TokenType.FARROW]}


@lru_cache(maxsize=1024)
def parse(text: str) -> exp.Query:
    """The one query that the text is. Raises Unresolved. The tree is shared: do not change it."""
    dialect = Postgres()
    try:
        parser = _Parser(dialect=dialect, error_level=ErrorLevel.IMMEDIATE)
        statements = [each for each in parser.parse(dialect.tokenize(text), text) if each]
    except SqlglotError as error:
        raise Unresolved(f"sqlglot cannot read it: {_first_line(error)}") from None
    except RecursionError:
        raise Unresolved("it is nested too deep") from None
    if len(statements) != 1 or not isinstance(statements[0], exp.Query):
        raise Unresolved("it is not one SELECT")
    return statements[0]


def folded(name: exp.Expr) -> str:
    """An identifier as Postgres keeps it."""
    text = name.name if name.args.get("quoted") else name.name.lower()
    return text.encode()[:_MOST_BYTES].decode(errors="ignore")


def _first_line(error: SqlglotError) -> str:
    return str(error).partition("\n")[0].rstrip(".")
