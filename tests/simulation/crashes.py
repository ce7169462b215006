"""Interruptions between any two statements of a transaction."""

from __future__ import annotations

from collections.abc import Awaitable, Callable, Iterator
from contextlib import contextmanager
from typing import Any

from engine.store.database import Connection


class Crash(BaseException):
    """Death of a process, rolling back its transaction; no handler of the engine may catch it."""


class AnswerLost(Crash):
    """Death of a process between the commit and the arrival of the result, ``answer``."""

    def __init__(self, answer: Any) -> None:
        super().__init__("it died before it knew")
        self.answer = answer


@contextmanager
def interrupted(conn: Connection, at: int, action: Callable[[], Awaitable[None]]) -> Iterator[None]:
    """Run `action` before statement number `at`, counted from 0."""
    factory = conn.cursor_factory
    left = at

    class Tapped(factory):  # type: ignore[misc, valid-type]
        async def execute(self, *args: Any, **kwargs: Any) -> Any:
            nonlocal left
            left -= 1
            if left == -1:
                await action()
            return await super().execute(*args, **kwargs)

    conn.cursor_factory = Tapped
    try:
        yield
    finally:
        conn.cursor_factory = factory
