"""From the text of a SELECT to a syntax tree that accounts for all of it."""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from functools import lru_cache
from itertools import pairwise
from typing import ClassVar

from sqlglot import exp
from sqlglot.dialects.postgres import Postgres
from sqlglot.errors import ErrorLevel, SqlglotError
from sqlglot.parsers.postgres import PostgresParser
from sqlglot.tokenizer_core import TokenType

from engine.lineage.sql.accounting import check_complete, check_keywords, check_tokens, lex
from engine.lineage.sql.functions import UserDefined
from engine.lineage.sql.grammar import check_grammar
from engine.lineage.sql.lexer import Token
from engine.lineage.sql.unresolved import Unresolved
from engine.model.identifiers import fold, truncate

_KEYWORDS_INSIDE = {"CAST", "EXTRACT", "OVERLAY", "POSITION", "SUBSTRING", "TRIM"}

_IMPLICIT_OPERATORS = "= <> < <= > >= ~~ !~~ ~~* !~~* ~ !~ || ::"
_IMPLICIT = frozenset(_IMPLICIT_OPERATORS.split())
"""Operators that a query may use without their symbol, in LIKE, IN, DISTINCT or ORDER BY."""


class _Parser(PostgresParser):
    """Leaves functions as they are called.

    Otherwise ``date_trunc(unit, t)`` loses its column ``unit``, and ``f(x -> 'a')`` is taken for a
    lambda, which has no column ``x``. A SELECT has no placeholders: ``:n`` is the end of a slice.
    """

    FUNCTIONS: ClassVar = {}
    FUNCTION_PARSERS: ClassVar = {
        name: parse
        for name, parse in PostgresParser.FUNCTION_PARSERS.items()
        if name in _KEYWORDS_INSIDE
    }
    LAMBDAS: ClassVar = {TokenType.FARROW: PostgresParser.LAMBDAS[TokenType.FARROW]}
    PLACEHOLDER_PARSERS: ClassVar = {}


@dataclass(frozen=True, slots=True)
class Parsed:
    """A SELECT. ``calls`` are the names before a parenthesis, ``operators`` the symbols in it."""

    query: exp.Query
    calls: frozenset[str]
    operators: frozenset[str]


@lru_cache(maxsize=1024)
def parse(text: str) -> Parsed:
    """The one query that the text is. Raises Unresolved. The tree is shared: do not change it."""
    own = lex(text)
    try:
        query = _query(text, own)
    except SqlglotError as error:
        raise Unresolved(f"sqlglot cannot read it: {_first_line(error)}") from None
    except RecursionError:
        raise Unresolved("it is nested too deep") from None
    return Parsed(query, frozenset(_calls(own)), frozenset(_operators(own)))


def check_user_defined(parsed: Parsed, user_defined: UserDefined) -> None:
    """Raise Unresolved where the query may call a user's function instead of a built-in one."""
    for name in sorted(parsed.calls & user_defined.unsafe):
        raise Unresolved(f"a function {name!r} is also defined outside of pg_catalog")
    for symbol in sorted(user_defined.operators):
        if symbol in parsed.operators or symbol in _IMPLICIT:
            raise Unresolved(f"an operator {symbol} is also defined outside of pg_catalog")


def folded(name: exp.Expr) -> str:
    """An identifier as the server stores it."""
    return truncate(name.name if name.args.get("quoted") else fold(name.name))


def _query(text: str, own: Sequence[Token]) -> exp.Query:
    dialect = Postgres()
    parsed = dialect.tokenize(text)
    check_tokens(text, own, parsed)
    check_keywords(parsed)
    parser = _Parser(dialect=dialect, error_level=ErrorLevel.IMMEDIATE)
    statements = [each for each in parser.parse(parsed, text) if each]
    if len(statements) != 1 or not isinstance(statements[0], exp.Query):
        raise Unresolved("it is not one SELECT")
    check_grammar(statements[0])
    check_complete(own, parsed, statements[0])
    return statements[0]


def _calls(own: Sequence[Token]) -> list[str]:
    return [name_of(left) for left, right in pairwise(own) if right.text == "("]


def name_of(token: Token) -> str:
    """The name that a token stands for, as the server stores it."""
    if token.kind == "quoted":
        return truncate(token.text[1:-1].replace('""', '"'))
    return truncate(fold(token.text))


def _operators(own: Sequence[Token]) -> Iterator[str]:
    """Operators, and what is left of each without the signs at its end, which may be prefixes."""
    for each in own:
        symbol = each.text if each.kind == "operator" else ""
        while symbol:
            yield symbol
            symbol = symbol[:-1] if symbol.endswith(("+", "-")) else ""


def _first_line(error: SqlglotError) -> str:
    return str(error).partition("\n")[0].rstrip(".")
