"""Checks that a syntax tree accounts for every token of its text.

sqlglot drops some parts of a query without an error, and tokenizes some texts differently from
PostgreSQL. A query with such a part remains unresolved and counts as reading everything.
"""

from __future__ import annotations

from collections import Counter
from collections.abc import Iterable, Sequence
from itertools import pairwise
from math import inf

from sqlglot import exp
from sqlglot.errors import ErrorLevel
from sqlglot.tokenizer_core import Token as Parsed
from sqlglot.tokenizer_core import TokenType

from engine.lineage.sql.lexer import LexicalError, Token, tokens
from engine.lineage.sql.unresolved import Unresolved
from engine.model.identifiers import fold

_NAMES = TokenType.VAR, TokenType.IDENTIFIER
_VALUES = {
    *_NAMES, TokenType.STRING, TokenType.BYTE_STRING, TokenType.HEREDOC_STRING,
    TokenType.NATIONAL_STRING, TokenType.UNICODE_STRING,
}  # fmt: skip
_EXACT = "string", "quoted"
_COUNTED = "word", "quoted"
_BLANKS = " \t\n\r\f\v"
_SYNTAX = """
    at both cast current exclude extract filter first following for from group groups in last
    leading materialized next no nulls only others overlay placing position preceding row rows
    substring symmetric asymmetric ties trailing trim uescape unbounded within zone
"""
_KEYWORDS = frozenset(_SYNTAX.split())
_UNIT_WORDS = """
    century centuries day days decade decades hour hours microsecond microseconds millennium
    millisecond milliseconds minute minutes month months quarter second seconds week weeks year
    years
"""
_UNITS = frozenset(_UNIT_WORDS.split())
_TYPE_WORDS = """
    bigint bool boolean bpchar bytea char character date datetime dec decimal double float float4
    float8 int int2 int4 int8 integer interval json jsonb name nchar numeric precision real smallint
    text time timestamp timestamptz timetz uuid varchar varying with without zone xml
"""
_TYPES = frozenset(_TYPE_WORDS.split())
_OPTIONAL = frozenset(
    ["all", "as", "asc", "asymmetric", "inner", "isnull", "notnull", "outer", "table", "unknown"]
)


def lex(text: str) -> list[Token]:
    """Return the tokens of a text. Raises Unresolved."""
    try:
        lexed = list(tokens(text))
    except LexicalError as error:
        raise Unresolved(f"PostgreSQL cannot read it: {error}") from None
    for token in lexed:
        if token.kind == "unicode":
            raise Unresolved(f"{token.text} is written with escapes: write the name itself")
    return lexed


def check_tokens(text: str, own: Sequence[Token], parsed: Iterable[Parsed]) -> None:
    """Raise Unresolved if sqlglot tokenizes the text differently from PostgreSQL."""
    spans = {token.start: token for token in own}
    covered: set[int] = set()
    exact: set[int] = set()
    for parsed_token in parsed:
        covered.update(range(parsed_token.start, parsed_token.end + 1))
        own_token = spans.get(parsed_token.start)
        if own_token is not None and own_token.end == parsed_token.end + 1:
            exact.add(parsed_token.start)
        elif parsed_token.token_type in _NAMES:
            raise Unresolved(f"sqlglot misreads {parsed_token.text!r}")
    for token in own:
        needs_exact = token.kind in _EXACT or not token.text.isascii()
        positions = range(token.start, token.end)
        if not covered.issuperset(positions) or (needs_exact and token.start not in exact):
            raise Unresolved(f"sqlglot misreads {token.text!r}")
        covered.difference_update(positions)
    if not all(text[position] in _BLANKS for position in covered):
        raise Unresolved("sqlglot reads a comment as a part of the query")


def check_keywords(parsed: Iterable[Parsed]) -> None:
    """Raise Unresolved for a word that is a keyword only if case is folded beyond ASCII."""
    for token in parsed:
        if token.token_type not in _VALUES and not token.text.isascii():
            raise Unresolved(f"sqlglot takes {token.text!r} for a keyword")


def check_complete(own: Sequence[Token], parsed: Iterable[Parsed], root: exp.Expr) -> None:
    """Raise Unresolved if a word of the text is missing in the tree."""
    claimed = {node.meta["start"] for node in root.walk() if "start" in node.meta}
    spare = Counter(fold(variable.name) for variable in root.find_all(exp.Var))
    for token in parsed:
        if token.token_type not in _NAMES or token.start in claimed:
            continue
        name = fold(token.text)
        spare[name] -= 1
        if token.token_type is TokenType.IDENTIFIER or (spare[name] < 0 and name not in _KEYWORDS):
            raise Unresolved(f"{token.text!r} is missing in the tree that sqlglot makes")
    _check_intervals(own, root)
    missing = _words(own) - _words(lex(root.sql("postgres", unsupported_level=ErrorLevel.IGNORE)))
    for word, times in sorted(missing.items()):
        if times > _respelled(word, root):
            raise Unresolved(f"{word!r} is missing in the tree that sqlglot makes")


def _check_intervals(own: Sequence[Token], root: exp.Expr) -> None:
    """Raise Unresolved if INTERVAL is not followed by a string: it is a column name then."""
    pairs = [(fold(left.text), right.kind) for left, right in pairwise(own)]
    written = pairs.count(("interval", "string"))
    parsed = sum(interval.args.get("this") is not None for interval in root.find_all(exp.Interval))
    if written != parsed:
        raise Unresolved("INTERVAL is not followed by a text")


def _words(own: Iterable[Token]) -> Counter[str]:
    return Counter(fold(token.text) for token in own if token.kind in _COUNTED)


def _respelled(word: str, root: exp.Expr) -> float:
    """Return the number of times that sqlglot may have respelled a word of the text."""
    if word in _OPTIONAL:
        return inf
    if word in _TYPES:
        return sum(1 for _ in root.find_all(exp.DataType))
    return sum(1 for _ in root.find_all(exp.Interval)) if word in _UNITS else 0
