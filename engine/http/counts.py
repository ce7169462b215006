"""Limits on what each key, or each org, holds at once."""

from collections import Counter
from collections.abc import Iterator
from contextlib import contextmanager

from engine.http.rates import too_many

_RETRY_SECONDS = 5.0


class KeyCounts:
    """Numbers by key, up to ``most``; ``what`` names the counted things in the error.

    ``holder`` names the holder of a key in the error.
    """

    def __init__(self, most: int, what: str, holder: str = "a key") -> None:
        self._most = most
        self._what = what
        self._holder = holder
        self._counts: Counter[str] = Counter()

    @contextmanager
    def counted(self, key: str) -> Iterator[None]:
        """Count one of a key. Raises RequestError if the key has too many."""
        if self._counts[key] >= self._most:
            detail = f"{self._holder} permits {self._most} {self._what} at once: end one"
            raise too_many(detail, _RETRY_SECONDS)
        self._counts[key] += 1
        try:
            yield
        finally:
            self._counts[key] -= 1
            self._counts += Counter()  # forgets keys without any
