"""Something happens in the middle of a flow: between any two of its statements."""

from __future__ import annotations

from collections.abc import Awaitable, Callable, Iterator
from contextlib import contextmanager
from typing import Any

from engine.store.database import Connection


class Crash(BaseException):
    """The process died: its transaction is rolled back. No handler of the engine may see it."""


class AnswerLost(Crash):
    """The process died after the commit, before it knew; ``answer`` is what it would have heard."""

    def __init__(self, answer: Any) -> None:
        super().__init__("it died before it knew")
        self.answer = answer


@contextmanager
def interrupted(conn: Connection, at: int, action: Callable[[], Awaitable[None]]) -> Iterator[None]:
    """Have `action` happen before statement number `at`, counted from 0."""
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
