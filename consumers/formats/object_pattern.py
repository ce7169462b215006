"""Patterns of object keys, matched in a time that grows with the length of pattern and key only.

As a regular expression, a pattern with many wildcards would try every division of the key.
"""

from __future__ import annotations

import re
from collections.abc import Iterator
from typing import NamedTuple

_WILDCARD = re.compile(r"\{(?P<group>\w+)\}|(?P<deep>\*\*)|(?P<any>\*)")
_HIVE_GROUP = re.compile(r"(?:^|/)[^/{}*=]+=\{(\w+)\}(?=/|$)")
LONGEST_KEY = 1_200
"""Characters of a key; object stores permit 1,024 bytes, and the bucket precedes the key."""


class _Literal(NamedTuple):
    text: str


class _Wildcard(NamedTuple):
    """Any text: of at least ``least`` characters, and only if ``deep`` with slashes."""

    group: str | None
    least: int
    deep: bool


class ObjectPattern:
    """A pattern of keys: a name in braces is a field, `*` any text without a slash, `**` any text.

    A pattern that ends with a slash covers everything below. Each wildcard takes as much of the key
    as the following ones permit. ``escaped`` are fields that are the entire value of a `name=`
    directory; ``prefix`` is the longest directory common to all objects.
    """

    def __init__(self, text: str) -> None:
        self._parts = tuple(_parts(text))
        self._is_open = text.endswith("/")
        self.escaped = frozenset(_HIVE_GROUP.findall(text))
        first = self._parts[0] if self._parts else None
        literal = first.text if isinstance(first, _Literal) else ""
        self.prefix = literal[: literal.rfind("/") + 1]

    def match(self, key: str) -> dict[str, str] | None:
        """Return the fields of a key, or None if it does not match."""
        if len(key) > LONGEST_KEY:
            return None
        fields: dict[str, str] = {}
        ends, at = self._reaching(key), 0
        if not ends[0] & 1:
            return None
        for part, following in zip(self._parts, ends[1:], strict=True):
            if isinstance(part, _Literal):
                at += len(part.text)
                continue
            # The last position within reach from which the rest of the pattern matches.
            limit = len(key) if part.deep else _slash(key, at)
            end = (following & ((2 << limit) - 1)).bit_length() - 1
            if part.group is not None:
                fields[part.group] = key[at:end]
            at = end
        return fields

    def _reaching(self, key: str) -> list[int]:
        """Return the positions from which each rest of the pattern matches, as bits.

        The first rest is the whole pattern, the last one is empty.
        """
        size = len(key)
        reaching = [(2 << size) - 1 if self._is_open else 1 << size]
        for part in reversed(self._parts):
            following = reaching[-1]
            reaching.append(
                _before_literal(part.text, key, following)
                if isinstance(part, _Literal)
                else _before_wildcard(part, key, following)
            )
        return reaching[::-1]


def _parts(text: str) -> Iterator[_Literal | _Wildcard]:
    at = 0
    for wildcard in _WILDCARD.finditer(text):
        if wildcard.start() > at:
            yield _Literal(text[at : wildcard.start()])
        group = wildcard["group"]
        yield _Wildcard(group, 0 if group is None else 1, wildcard["deep"] is not None)
        at = wildcard.end()
    if at < len(text):
        yield _Literal(text[at:])


def _before_literal(text: str, key: str, following: int) -> int:
    found, at = 0, key.find(text)
    while at >= 0:
        found |= (following >> at + len(text) & 1) << at
        at = key.find(text, at + 1)
    return found


def _before_wildcard(part: _Wildcard, key: str, following: int) -> int:
    found, start = 0, 0
    while start <= len(key):
        end = len(key) if part.deep else _slash(key, start)
        last = (following & ((2 << end) - 1)) >> start
        # All positions up to the last one, in the same directory unless the wildcard is deep.
        found |= ((1 << max(last.bit_length() - part.least, 0)) - 1) << start
        start = end + 1
    return found


def _slash(key: str, start: int) -> int:
    """Return the position of the next slash, or the end."""
    at = key.find("/", start)
    return len(key) if at < 0 else at
