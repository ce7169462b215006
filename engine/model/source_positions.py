"""Lines and columns of the values of a DAG file, for use in error messages."""

import re
from collections.abc import Iterable, Mapping
from dataclasses import dataclass, field
from difflib import get_close_matches
from typing import Any, NamedTuple

from engine.errors import InvalidDag

Path = tuple[str | int, ...]

_MAX_PROBLEMS = 100
_MOST_WORDS = 5_000
_LITERAL = re.compile(r"[^:]*:\s*\|[-+0-9]*\s*(#.*)?")
"""A key, and the sign of a text whose lines follow."""


class Problem(NamedTuple):
    """An error in a DAG file: the path of the value, and a message with the correction."""

    path: Path
    message: str


@dataclass(frozen=True, slots=True)
class SourceMap:
    """The line and column, counted from 1, of each path of a file, with its content and text.

    ``text`` is empty if further files contribute to the content.

    All source maps compare equal, so that two DAG files with the same content are equal wherever
    their values are written.
    """

    where: str = field(default="DAG", compare=False)
    positions: Mapping[Path, tuple[int, int]] = field(default_factory=dict, compare=False)
    content: Mapping[str, Any] = field(default_factory=dict, compare=False)
    text: str = field(default="", compare=False)

    def error(self, problems: Iterable[Problem]) -> InvalidDag:
        """Create an error with the first hundred problems in file order, one per line."""
        ordered = sorted(problems, key=lambda problem: self._position(problem.path))
        lines = [self._describe(problem) for problem in ordered[:_MAX_PROBLEMS]]
        if len(ordered) > _MAX_PROBLEMS:
            lines.append(f"and {len(ordered) - _MAX_PROBLEMS} more")
        return InvalidDag("\n".join(lines))

    def line_in(self, path: Path, line: int) -> str | None:
        """Return ``file:line`` of a line of the text at a path; None for a DAG without a file.

        Lines are counted only in a literal block (``|``); other texts begin at the result.
        """
        first, column = self._position(path)
        if not first:
            return None
        lines = self.text.splitlines()
        is_literal = first <= len(lines) and _LITERAL.fullmatch(lines[first - 1][column - 1 :])
        return f"{self.where}:{first + line if is_literal else first}"

    def _describe(self, problem: Problem) -> str:
        line, column = self._position(problem.path)
        location = f"{self.where}:{line}:{column}" if line else self.where
        return ": ".join(filter(None, (location, dotted(problem.path), problem.message)))

    def _position(self, path: Path) -> tuple[int, int]:
        """Return the position of a path, or of its nearest ancestor if it has none."""
        for end in range(len(path), -1, -1):
            if position := self.positions.get(path[:end]):
                return position
        return 0, 0


def dotted(path: Path) -> str:
    """Format a path for messages: ``jobs[2].inputs[0].mapping``."""
    steps = (f"[{step}]" if isinstance(step, int) else f".{step}" for step in path)
    return "".join(steps).removeprefix(".")


def shown(value: Any) -> str:
    """Format a value for a message, truncated to 80 characters."""
    text = repr(value)
    return text if len(text) <= 80 else f"{text[:77]}..."


def did_you_mean(word: str, known: Iterable[str]) -> str:
    """Return ``; did you mean 'flights'?`` if a known word is similar, else an empty text.

    There is no suggestion out of thousands of words, because the comparison takes seconds.
    """
    words = list(known)
    near = get_close_matches(word[:100], sorted(words), n=1) if len(words) <= _MOST_WORDS else ()
    return f"; did you mean {near[0]!r}?" if near else ""
