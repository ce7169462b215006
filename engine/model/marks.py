"""Where in a DAG file each thing stands, so that every complaint can point at its line."""

from collections.abc import Iterable, Mapping
from dataclasses import dataclass, field
from difflib import get_close_matches
from typing import Any, NamedTuple

from engine.errors import InvalidDag

Path = tuple[str | int, ...]

_MOST = 100


class Problem(NamedTuple):
    """One thing that is wrong: where, by path, and what would be right."""

    path: Path
    message: str


@dataclass(frozen=True, slots=True)
class Marks:
    """The line and column, counted from 1, at which each path of a file begins, and its content.

    All marks are equal: where a thing stands, and in which form, is no part of what it says.
    """

    where: str = field(default="DAG", compare=False)
    positions: Mapping[Path, tuple[int, int]] = field(default_factory=dict, compare=False)
    content: Mapping[str, Any] = field(default_factory=dict, compare=False)

    def refusal(self, problems: Iterable[Problem]) -> InvalidDag:
        """One error for the first hundred problems, one a line, in the order of the file."""
        ordered = sorted(problems, key=lambda problem: self._position(problem.path))
        lines = [self._describe(problem) for problem in ordered[:_MOST]]
        more = [f"and {len(ordered) - _MOST} more"] if len(ordered) > _MOST else []
        return InvalidDag("\n".join(lines + more))

    def _describe(self, problem: Problem) -> str:
        line, column = self._position(problem.path)
        place = f"{self.where}:{line}:{column}" if line else self.where
        return ": ".join(filter(None, (place, dotted(problem.path), problem.message)))

    def _position(self, path: Path) -> tuple[int, int]:
        """Of what is missing, or was made up from a short form: the nearest thing around it."""
        for end in range(len(path), -1, -1):
            if found := self.positions.get(path[:end]):
                return found
        return 0, 0


def dotted(path: Path) -> str:
    """The path as people write it: ``jobs[2].inputs[0].mapping``."""
    steps = (f"[{step}]" if isinstance(step, int) else f".{step}" for step in path)
    return "".join(steps).removeprefix(".")


def shown(value: Any) -> str:
    """The value as text for a message, cut where it is long."""
    text = repr(value)
    return text if len(text) <= 80 else f"{text[:77]}..."


def did_you_mean(word: str, known: Iterable[str]) -> str:
    """``; did you mean 'flights'?`` where a known word is near, else nothing."""
    near = get_close_matches(word[:100], sorted(known), n=1)
    return f"; did you mean {near[0]!r}?" if near else ""
