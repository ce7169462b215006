"""Tokenizer with PostgreSQL's lexical rules, after `scan.l` of its source."""

from __future__ import annotations

import re
from collections.abc import Iterator
from typing import NamedTuple

_TOKEN = re.compile(
    r"""
    (?P<space>[ \t\n\r\f\v]+ | --[^\n\r]*)
    | (?P<comment>/\*)
    | (?P<string>[eE]'(?:[^'\\]|''|\\.)*'
        | (?:[bBnNxX]|[uU]&)?'(?:[^']|'')*'
        | \$(?P<tag>(?:[A-Za-z_\x80-\U0010ffff][\w\x80-\U0010ffff]*)?)\$.*?\$(?P=tag)\$)
    | (?P<unicode>[uU]&"(?:[^"]|"")*")
    | (?P<quoted>"(?:[^"]|"")+")
    | (?P<word>[A-Za-z_\x80-\U0010ffff][A-Za-z0-9_$\x80-\U0010ffff]*)
    | (?P<parameter>\$[0-9]+)
    | (?P<number>0[xX][0-9a-fA-F_]+ | 0[oO][0-7_]+ | 0[bB][01_]+
        | (?:[0-9][0-9_]*(?:\.(?!\.)[0-9_]*)? | \.[0-9][0-9_]*)(?:[eE][-+]?[0-9]+)?)
    | (?P<operator>(?:(?!--|/\*)[-+*/<>=~!@#%^&|`?])+)
    | (?P<other>[,()\[\].;:])
    """,
    re.VERBOSE | re.DOTALL,
)
_COMMENT_EDGE = re.compile(r"/\*|\*/")


class Token(NamedTuple):
    """A token; ``kind`` is a group of the pattern above, ``end`` is exclusive."""

    kind: str
    text: str
    start: int
    end: int


class LexicalError(Exception):
    """The text has a character or a comment not accepted by PostgreSQL."""


def tokens(text: str) -> Iterator[Token]:
    """Split a text into tokens, skipping whitespace and comments. Raises LexicalError."""
    position = 0
    while position < len(text):
        match = _TOKEN.match(text, position)
        if match is None:
            raise LexicalError(f"{text[position : position + 10]!r} is no SQL")
        kind = next(name for name in _TOKEN.groupindex if match[name] is not None and name != "tag")
        end = _end_of_comment(text, position) if kind == "comment" else match.end()
        if kind not in ("space", "comment"):
            yield Token(kind, match[0], position, end)
        position = end


def _end_of_comment(text: str, start: int) -> int:
    """Return the position after a comment; comments can be nested."""
    depth = 0
    for edge in _COMMENT_EDGE.finditer(text, start):
        depth += 1 if edge[0] == "/*" else -1
        if depth == 0:
            return edge.end()
    raise LexicalError("a comment has no end")
