"""Equivalent texts of a SELECT: white space, comments, case, aliases of tables, parentheses."""

from __future__ import annotations

import re
from random import Random

_WORD = re.compile(r'"[^"]*"|\b[A-Za-z_]+\b')
_COLUMN = re.compile(
    r'(?:(?<=\()|(?<=, )|(?<=SELECT )|(?<=THEN ))[a-z]+\."\w+"(?=[,)]| AS | ELSE )'
)
"""A column that is a whole item, in which parentheses change nothing."""
_TABLE = re.compile(r"(?<!\)) AS ([a-z]+)(?=$|\)| (?!AS))")
_SPACES = (" ", "  ", "\n", "\t", " /* other */ ", " -- other\n", " /* one /* two */ */ ")


def reworded(text: str, rng: Random) -> str:
    """Return a SELECT of the grammar in another form."""
    text = _COLUMN.sub(lambda column: _in_parentheses(column[0], rng), text)
    text = _with_other_aliases(text, rng)
    text = _WORD.sub(lambda word: _in_other_case(word[0], rng), text)
    return re.sub(" ", lambda _: rng.choice(_SPACES), text) + rng.choice(["", ";", "\n", " -- end"])


def _in_parentheses(column: str, rng: Random) -> str:
    return f"({column})" if rng.random() < 0.2 else column


def _with_other_aliases(text: str, rng: Random) -> str:
    """Rename some aliases of tables, which precede the names of their columns."""
    for alias in sorted({match[1] for match in _TABLE.finditer(text) if f"{match[1]}." in text}):
        other = rng.choice([alias, f"{alias}_one", f"{alias}2"])
        text = re.sub(rf'(?<![."\w]){alias}\.', f"{other}.", text)
        text = re.sub(rf"\bAS {alias}\b", f"AS {other}", text)
    return text


def _in_other_case(word: str, rng: Random) -> str:
    if word.startswith('"'):
        return word
    return rng.choice([word, word.lower(), word.upper()])
