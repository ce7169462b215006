"""Parsing of a SELECT into a syntax tree, with checks that no part of the text is lost."""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from functools import lru_cache
from itertools import pairwise
from typing import ClassVar

from sqlglot import exp
from sqlglot.dialects.postgres import Postgres
from sqlglot.errors import ErrorLevel, ParseError, SqlglotError
from sqlglot.parsers.postgres import PostgresParser
from sqlglot.tokenizer_core import TokenType

from engine.lineage.sql.accounting import check_complete, check_keywords, check_tokens, lex
from engine.lineage.sql.functions import UserDefined
from engine.lineage.sql.grammar import check_grammar
from engine.lineage.sql.lexer import Token
from engine.lineage.sql.unresolved import NotAQuery, Unresolved
from engine.model.identifiers import fold, truncate

_KEYWORDS_INSIDE = {"CAST", "EXTRACT", "OVERLAY", "POSITION", "SUBSTRING", "TRIM"}

_BEGINNINGS = {"select", "table", "values", "with"}

_IMPLICIT_OPERATORS = "= <> < <= > >= ~~ !~~ ~~* !~~* ~ !~ || ::"
_IMPLICIT = frozenset(_IMPLICIT_OPERATORS.split())
"""Operators used implicitly, without their symbol, by LIKE, IN, DISTINCT or ORDER BY."""


class _Parser(PostgresParser):
    """PostgreSQL parser that leaves function calls as written.

    Otherwise ``date_trunc(unit, t)`` loses its column ``unit``, and ``f(x -> 'a')`` is parsed as a
    lambda, without a column ``x``. A SELECT has no placeholders: ``:n`` is the end of a slice.
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
    """A SELECT, with the names followed by a parenthesis (``calls``) and all operator symbols."""

    query: exp.Query
    calls: frozenset[str]
    operators: frozenset[str]


@lru_cache(maxsize=1024)
def parse(text: str) -> Parsed:
    """Parse a text with a single query. Raises Unresolved.

    The tree is cached and shared, so it must not be modified.
    """
    own = lex(text)
    _check_beginning(own)
    try:
        query = _query(_without_comments(text, own), own)
    except SqlglotError as error:
        first_line = str(error).partition("\n")[0].rstrip(".")
        raise Unresolved(f"sqlglot cannot read it: {first_line}", _line_of(error)) from None
    except RecursionError:
        raise Unresolved("it is nested too deep") from None
    calls = (name_of(left) for left, right in pairwise(own) if right.text == "(")
    return Parsed(query, frozenset(calls), frozenset(_operators(own)))


def check_user_defined(parsed: Parsed, user_defined: UserDefined) -> None:
    """Raise Unresolved if the query may call a user-defined function instead of a built-in one."""
    for name in sorted(parsed.calls & user_defined.unsafe):
        raise Unresolved(f"a function {name!r} is also defined outside of pg_catalog")
    for symbol in sorted(user_defined.operators):
        if symbol in parsed.operators or symbol in _IMPLICIT:
            raise Unresolved(f"an operator {symbol} is also defined outside of pg_catalog")


def folded(name: exp.Expr) -> str:
    """Return an identifier as stored by the server."""
    return truncate(name.name if name.args.get("quoted") else fold(name.name))


def _without_comments(text: str, own: Sequence[Token]) -> str:
    """Replace comments by blanks: sqlglot rejects one between the words of GROUP BY."""
    parts, end = [], 0
    for token in own:
        between = text[end : token.start]
        parts.append("".join(char if char in "\n\r" else " " for char in between))
        parts.append(text[token.start : token.end])
        end = token.end
    return "".join(parts)


def _query(text: str, own: Sequence[Token]) -> exp.Query:
    dialect = Postgres()
    parsed = dialect.tokenize(text)
    check_tokens(text, own, parsed)
    check_keywords(parsed)
    parser = _Parser(dialect=dialect, error_level=ErrorLevel.IMMEDIATE)
    statements = [statement for statement in parser.parse(parsed, text) if statement]
    if len(statements) != 1:
        raise NotAQuery(f"it has {len(statements)} statements")
    if isinstance(statements[0], exp.DML):
        raise NotAQuery(f"it is not a SELECT, but {statements[0].key.upper()}")
    if not isinstance(statements[0], exp.Query):
        raise Unresolved("it is not one SELECT")
    check_grammar(statements[0])
    check_complete(own, parsed, statements[0])
    return statements[0]


def _check_beginning(own: Sequence[Token]) -> None:
    """Check that the first word begins a query. Raises NotAQuery."""
    first = next((token for token in own if token.text != "("), None)
    if first is None:
        raise NotAQuery("it has no statement")
    if fold(first.text) not in _BEGINNINGS:
        raise NotAQuery(f"it is not a SELECT: it begins with {first.text[:40]!r}")


def _line_of(error: SqlglotError) -> int | None:
    details = error.errors if isinstance(error, ParseError) else ()
    return next((each["line"] for each in details if each.get("line")), None)


def name_of(token: Token) -> str:
    """Return the name in a token, as stored by the server."""
    if token.kind == "quoted":
        return truncate(token.text[1:-1].replace('""', '"'))
    return truncate(fold(token.text))


def _operators(own: Sequence[Token]) -> Iterator[str]:
    """Iterate over operators, each also without trailing signs, which may be prefix operators."""
    for token in own:
        symbol = token.text if token.kind == "operator" else ""
        while symbol:
            yield symbol
            symbol = symbol[:-1] if symbol.endswith(("+", "-")) else ""
