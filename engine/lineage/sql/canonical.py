"""Canonical texts of queries: equal for queries that differ only in the way they are written.

White space, comments, the case of unquoted words, AS, aliases of tables and redundant parentheses
do not count. A query is taken as its sequence of tokens, by PostgreSQL's lexical rules, and the
tree of sqlglot only shows which tokens are aliases. So a difference that sqlglot misses is kept.
"""

from __future__ import annotations

from collections import Counter
from collections.abc import Iterator, Sequence
from functools import lru_cache
from itertools import pairwise

from sqlglot import exp

from engine.lineage.sql.accounting import lex
from engine.lineage.sql.lexer import Token
from engine.lineage.sql.parentheses import without_redundant
from engine.lineage.sql.parse import folded, parse
from engine.lineage.sql.unresolved import Unresolved
from engine.model.identifiers import fold

_Edits = dict[int, tuple[str, ...]]
"""Texts that replace a token, by the start of the token."""


@lru_cache(maxsize=1024)
def canonical(text: str) -> str:
    """Return the canonical text of a query; the text itself if PostgreSQL cannot read it.

    Queries beyond the supported grammar keep their aliases.
    """
    try:
        own = lex(text)
        plain = _without_form(own)
        tokens = lex(plain)
    except Unresolved:
        return text
    if any(_are_beside(left, right, text) for left, right in pairwise(own)):
        return text
    try:
        query = parse(plain).query
    except Unresolved:
        edits: _Edits = {}
    else:
        edits = _explicit_as(query, tokens) | _numbered_tables(query, tokens)
    texts = [text for token in tokens for text in edits.get(token.start, (token.text,))]
    return " ".join(without_redundant(texts))


def _are_beside(left: Token, right: Token, text: str) -> bool:
    """Return whether two strings follow each other on a line, an error unlike on two lines."""
    is_pair = left.kind == right.kind == "string"
    return is_pair and not {"\n", "\r"} & {*text[left.end : right.start]}


def _without_form(tokens: Sequence[Token]) -> str:
    """Join tokens by line breaks, which join strings as well; ``::`` stays together."""
    parts: list[str] = []
    for before, token in zip((None, *tokens), tokens, strict=False):
        is_cast = before is not None and before.text == token.text == ":"
        text = fold(token.text) if token.kind in ("word", "number") else token.text
        parts += [text] if is_cast and before and before.end == token.start else ["\n", text]
    return "".join(parts).rstrip("\n;")


def _explicit_as(query: exp.Query, tokens: Sequence[Token]) -> _Edits:
    """Return the edits that write AS before aliases without it."""
    before = {right.start: left for left, right in pairwise(tokens)}
    own = {token.start: token for token in tokens}
    aliases = [node.args["alias"] for node in query.find_all(exp.Alias)]
    aliases += [
        node.this
        for node in query.find_all(exp.TableAlias)
        if node.this is not None and not isinstance(node.parent, exp.CTE)
    ]
    starts = [alias.meta["start"] for alias in aliases]
    return {start: ("as", own[start].text) for start in starts if before[start].text != "as"}


def _numbered_tables(query: exp.Query, tokens: Sequence[Token]) -> _Edits:
    """Return the edits that number the tables of the query; none if a name has two meanings."""
    tables = [table for table in query.find_all(exp.Table) if _is_named(table)]
    tables.sort(key=lambda table: int(table.this.meta["start"]))
    names = [folded(_alias(table) or table.this) for table in tables]
    if not _are_unique(query, names):
        return {}
    numbers = {name: f"$t{n}" for n, name in enumerate(names)}
    own = {token.start: token for token in tokens}
    edits: _Edits = {}
    for table, name in zip(tables, names, strict=True):
        alias = _alias(table)
        start = (alias or table.this).meta["start"]
        written = () if alias is not None else (own[start].text,)
        edits[start] = (*written, "as", numbers[name])
    as_tokens = _as_before([_alias(table) for table in tables], tokens)
    edits |= dict.fromkeys(as_tokens, ())
    for column in query.find_all(exp.Column):
        qualifier = column.args.get("table")
        if qualifier is not None and folded(qualifier) in numbers:
            edits[qualifier.meta["start"]] = (numbers[folded(qualifier)],)
    return edits


def _as_before(aliases: Sequence[exp.Expr | None], tokens: Sequence[Token]) -> Iterator[int]:
    """Yield the starts of the AS before aliases, where it is written."""
    starts = {alias.meta["start"] for alias in aliases if alias is not None}
    for left, right in pairwise(tokens):
        if right.start in starts and left.text == "as":
            yield left.start


def _is_named(table: exp.Table) -> bool:
    """Return whether a table is named, and its columns keep their names."""
    alias = table.args.get("alias")
    return isinstance(table.this, exp.Identifier) and not (alias and alias.args.get("columns"))


def _alias(table: exp.Table) -> exp.Expr | None:
    alias = table.args.get("alias")
    return None if alias is None else alias.this


def _are_unique(query: exp.Query, names: Sequence[str]) -> bool:
    """Return whether each name stands for one table in all of the query, and for nothing else."""
    numbered = {id(table) for table in query.find_all(exp.Table) if _is_named(table)}
    others = [
        folded(alias.this)
        for alias in query.find_all(exp.TableAlias)
        if alias.this is not None
        and id(alias.parent) not in numbered
        and not isinstance(alias.parent, exp.CTE)
    ]
    columns = {
        folded(column.this)
        for column in query.find_all(exp.Column)
        if column.args.get("table") is None and isinstance(column.this, exp.Identifier)
    }
    is_row = any(
        isinstance(column.this, exp.Star) and not isinstance(column.parent, exp.Select)
        for column in query.find_all(exp.Column)
    )  # a value named after the table
    counts = Counter([*names, *others])
    return not is_row and all(counts[name] == 1 and name not in columns for name in names)
