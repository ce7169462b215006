"""Interruptions between any two statements of a transaction."""

from __future__ import annotations

from collections.abc import Awaitable, Callable, Iterator
from contextlib import contextmanager
from typing import Any

from engine.store.database import Connection


class Crash(BaseException):
    """Death of a process, rolling back its transaction; no handler of the engine may catch it."""


class ResponseLost(Crash):
    """Death of a process between the commit and the arrival of the result, ``response``."""

    def __init__(self, response: Any) -> None:
        super().__init__("crashed before receiving the response")
        self.response = response


@contextmanager
def interrupted(
    conn: Connection, index: int, action: Callable[[], Awaitable[None]]
) -> Iterator[None]:
    """Run `action` before the statement with this index, counted from 0."""
    factory = conn.cursor_factory
    remaining = index

    class InterruptedCursor(factory):  # type: ignore[misc, valid-type]
        async def execute(self, *args: Any, **kwargs: Any) -> Any:
            nonlocal remaining
            remaining -= 1
            if remaining == -1:
                await action()
            return await super().execute(*args, **kwargs)

    conn.cursor_factory = InterruptedCursor
    try:
        yield
    finally:
        conn.cursor_factory = factory
