"""Names in an SQL text that may refer to user-defined functions, operators or views.

All possible names are collected, even in comments and literals: a superfluous name costs only a
lookup, and names in dynamic SQL inside a function are covered.
"""

import re
from functools import lru_cache
from typing import NamedTuple

from engine.model.identifiers import stored

_PART = r'"(?:[^"]|"")+"|[A-Za-z_\x80-\U0010ffff][\w$\x80-\U0010ffff]*'
_NAME = re.compile(rf"(?:({_PART})\s*\.\s*)?({_PART})")
_CALL = re.compile(rf"(?:({_PART})\s*\.\s*)?({_PART})\s*\(")
_COMMENT = re.compile(r"--[^\n]*|/\*.*?\*/", re.DOTALL)
_OPERATOR = re.compile(r"[-+*/<>=~!@#%^&|`?]+")
_LONGEST_RUN = 8


class Name(NamedTuple):
    """A name as folded by the server; ``schema`` is None for an unqualified name."""

    schema: str | None
    name: str


class Mentioned(NamedTuple):
    """Names followed by a parenthesis, operators, and all names in a text."""

    called: frozenset[Name]
    operators: frozenset[str]
    names: frozenset[Name]


@lru_cache(maxsize=4096)
def mentioned(text: str) -> Mentioned:
    """Collect the names in a text, both with and without apparent comments."""
    texts = (text, _COMMENT.sub(" ", text))
    return Mentioned(
        called=frozenset(name for variant in texts for name in _names(_CALL, variant)),
        operators=frozenset(
            part for variant in texts for run in _OPERATOR.findall(variant) for part in _parts(run)
        ),
        names=frozenset(name for variant in texts for name in _names(_NAME, variant)),
    )


def _parts(run: str) -> set[str]:
    """Return the possible operators in a run of operator characters: ``x*-1`` contains two."""
    ends = range(1, len(run) + 1)
    starts = range(len(run)) if len(run) <= _LONGEST_RUN else (0,)
    return {run[start:end] for start in starts for end in ends if start < end}


def _names(pattern: re.Pattern[str], text: str) -> set[Name]:
    return {
        Name(stored(schema) if schema else None, stored(name))
        for schema, name in pattern.findall(text)
    }
