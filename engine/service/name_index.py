"""Names that are searched at once in one text, which takes milliseconds for a million names."""

from array import array
from bisect import bisect_right
from collections import defaultdict
from collections.abc import Iterable, Iterator, Sequence
from enum import StrEnum
from typing import Final, Generic, TypeVar

T = TypeVar("T")
_END: Final = "\0"
"""Around each name, because no name has it."""
_SEPARATORS: Final = "_-. /:"
"""Before the words of a name after the first one."""


class Match(StrEnum):
    """Part of a name, or of an id, that equals the searched text; the best first."""

    EXACT = "exact"
    PREFIX = "prefix"
    ENDING = "ending"
    WORD = "word"
    PART = "part"

    @property
    def rank(self) -> int:
        """Return the position in the order."""
        return _RANKS[self]


_RANKS = {match: rank for rank, match in enumerate(Match)}


class NameIndex(Generic[T]):
    """Items by name, found by any part of the name, regardless of case."""

    def __init__(self, entries: Iterable[tuple[str, T]]) -> None:
        items: defaultdict[str, list[T]] = defaultdict(list)
        for name, item in entries:
            items[name].append(item)
        by_folded = sorted((name.casefold(), name) for name in items)
        self._entries: Sequence[tuple[str, Sequence[T]]] = [
            (name, items[name]) for _, name in by_folded
        ]
        self._text = _END + "".join(f"{folded}{_END}" for folded, _ in by_folded)
        self._starts = array("Q")
        start = len(_END)
        for folded, _ in by_folded:
            self._starts.append(start)
            start += len(folded) + len(_END)

    def find(self, text: str) -> Iterator[tuple[Match, str, T]]:
        """Yield matching items with their names, the best matches first, each name once.

        Lazy: nothing after the last item taken is searched.
        """
        folded = text.casefold()
        if not folded or _END in folded:
            return
        seen: set[int] = set()
        for match, pattern in _patterns(folded):
            for number in self._numbers(pattern):
                if number not in seen:
                    seen.add(number)
                    name, items = self._entries[number]
                    yield from ((match, name, item) for item in items)

    def _numbers(self, pattern: str) -> Iterator[int]:
        """Yield the numbers of the names with a pattern."""
        position = self._text.find(pattern)
        while position >= 0:
            inside = position + pattern.startswith(_END)
            number = bisect_right(self._starts, inside) - 1
            yield number
            if number + 1 == len(self._starts):
                return
            position = self._text.find(pattern, self._starts[number + 1] - len(_END))


def _patterns(folded: str) -> Iterator[tuple[Match, str]]:
    yield Match.EXACT, f"{_END}{folded}{_END}"
    yield Match.PREFIX, f"{_END}{folded}"
    yield from ((Match.WORD, f"{separator}{folded}") for separator in _SEPARATORS)
    yield Match.PART, folded
