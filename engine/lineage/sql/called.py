"""Names in an SQL text that may mean functions, operators or views of the user's own.

Every spelling that could be one is taken, comments and literals included: a name too many is looked
up in vain, and dynamic SQL within a function is seen.
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
    """A name as the server folds it; without a schema where the text writes none."""

    schema: str | None
    name: str


class Mentioned(NamedTuple):
    """The names that are called like functions, the operators, and all names."""

    called: frozenset[Name]
    operators: frozenset[str]
    names: frozenset[Name]


@lru_cache(maxsize=4096)
def mentioned(text: str) -> Mentioned:
    """The names in a text, with and without what looks like comments."""
    texts = (text, _COMMENT.sub(" ", text))
    return Mentioned(
        called=frozenset(name for each in texts for name in _names(_CALL, each)),
        operators=frozenset(
            part for each in texts for run in _OPERATOR.findall(each) for part in _parts(run)
        ),
        names=frozenset(name for each in texts for name in _names(_NAME, each)),
    )


def _parts(run: str) -> set[str]:
    """Operators in a run of their characters: in ``x*-1`` they are two."""
    ends = range(1, len(run) + 1)
    starts = range(len(run)) if len(run) <= _LONGEST_RUN else (0,)
    return {run[start:end] for start in starts for end in ends if start < end}


def _names(pattern: re.Pattern[str], text: str) -> set[Name]:
    return {
        Name(stored(schema) if schema else None, stored(name))
        for schema, name in pattern.findall(text)
    }
