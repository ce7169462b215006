"""Waits that end as soon as a consumer is stopped."""

import asyncio
from collections.abc import Coroutine
from contextlib import suppress
from typing import Any, TypeVar

T = TypeVar("T")

_MIN_SECONDS = 0.1
_MAX_SECONDS = 5.0


class Backoff:
    """Exponential backoff between attempts, from 0.1 to 5 seconds."""

    def __init__(self, stop: asyncio.Event) -> None:
        self._stop = stop
        self._seconds = _MIN_SECONDS

    def reset(self) -> None:
        """Start with the shortest wait again, after an attempt has succeeded."""
        self._seconds = _MIN_SECONDS

    async def wait(self) -> None:
        """Wait, and double the next wait."""
        with suppress(TimeoutError):
            await asyncio.wait_for(self._stop.wait(), self._seconds)
        self._seconds = min(2 * self._seconds, _MAX_SECONDS)


async def unless_stopped(stop: asyncio.Event, work: Coroutine[Any, Any, T]) -> T | None:
    """Await `work` and return its result; cancel it and return None if `stop` is set first."""
    working, stopping = asyncio.ensure_future(work), asyncio.ensure_future(stop.wait())
    try:
        await asyncio.wait({working, stopping}, return_when=asyncio.FIRST_COMPLETED)
        return working.result() if working.done() else None
    finally:
        working.cancel()
        stopping.cancel()
        await asyncio.gather(working, stopping, return_exceptions=True)
