"""Redundant parentheses in a sequence of tokens.

Parentheses are removed only where that cannot change the tree of PostgreSQL's grammar: around a
single name or constant, around a whole item or condition, and around a term of AND or OR. Others
are kept, even if precedence makes them redundant.
"""

from __future__ import annotations

from collections.abc import Iterator, Sequence

_QUERIES = frozenset({"select", "with", "values", "table"})
_BEFORE_ITEM = frozenset(
    {"select", "on", "where", "having", "when", "then", "else", "(", "[", ","}
)  # fmt: skip
_AFTER_ITEM = frozenset(
    {"", ")", "]", ",", "as", "from", "where", "group", "having", "window", "order", "limit",
     "offset", "fetch", "union", "except", "intersect", "then", "when", "else", "end", "join",
     "inner", "left", "right", "full", "cross", "natural"}
)  # fmt: skip
_BEFORE_TERM = frozenset({"and", "or", "on", "where", "having", "when"})
_AFTER_TERM = _AFTER_ITEM | {"and", "or"}
_BEFORE_PRIMARY = _BEFORE_ITEM | {"and", "or", "not", "like", "ilike", "limit", "offset"}
_SIGNS = frozenset("+-*/<>=~!@#%^&|`?")
_OPEN, _CLOSE = frozenset("("), frozenset(")")
_AFTER_NAME = frozenset({".", "[", "("})
"""Tokens that give a name before them another meaning."""


def without_redundant(tokens: Sequence[str]) -> list[str]:
    """Return the tokens, of which words are in lower case, without redundant parentheses."""
    kept = list(tokens)
    while (pair := next(_redundant(kept), None)) is not None:
        first, last = pair
        del kept[last], kept[first]
    return kept


def _redundant(tokens: Sequence[str]) -> Iterator[tuple[int, int]]:
    """Yield the positions of redundant pairs, each as if it were the only one."""
    stack: list[int] = []
    for position, token in enumerate(tokens):
        if token in _OPEN:
            stack.append(position)
        elif token in _CLOSE and stack:
            first = stack.pop()
            if _is_redundant(tokens, first, position):
                yield first, position


def _is_redundant(tokens: Sequence[str], first: int, last: int) -> bool:
    inside = tokens[first + 1 : last]
    before = tokens[first - 1] if first else ""
    after = tokens[last + 1] if last + 1 < len(tokens) else ""
    if not inside or next(filter(_is_inner, inside), "") in _QUERIES:
        return False
    if len(inside) == 1:
        return (before in _BEFORE_PRIMARY or before[-1:] in _SIGNS) and after not in _AFTER_NAME
    words = {*_outermost(inside)}
    if words & {",", "join"}:  # a row, or a table made by a join
        return False
    if before in _BEFORE_ITEM and after in _AFTER_ITEM:
        return True
    is_term = before in _BEFORE_TERM and after in _AFTER_TERM and not words & {"and", "or"}
    return is_term and "between" not in _level_before(tokens, first)


def _is_inner(token: str) -> bool:
    return token not in _OPEN


def _outermost(tokens: Sequence[str]) -> Iterator[str]:
    """Yield the tokens outside of any brackets."""
    depth = 0
    for token in tokens:
        depth -= token in (")", "]")
        if depth == 0:
            yield token
        depth += token in ("(", "[")


def _level_before(tokens: Sequence[str], position: int) -> list[str]:
    """Return the tokens before a position, back to the bracket that encloses it."""
    level, depth = [], 0
    for token in reversed(tokens[:position]):
        depth += token in (")", "]")
        if depth == 0 and token in ("(", "["):
            break
        if depth == 0:
            level.append(token)
        depth -= token in ("(", "[")
    return level
