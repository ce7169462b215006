"""Waits that a stop ends at once."""

import asyncio
from collections.abc import Coroutine
from contextlib import suppress
from typing import Any, TypeVar

T = TypeVar("T")

_SHORTEST_SECONDS = 0.1
_LONGEST_SECONDS = 5.0


class Patience:
    """Growing waits between attempts, from 0.1 to 5 seconds."""

    def __init__(self, stop: asyncio.Event) -> None:
        self._stop = stop
        self._seconds = _SHORTEST_SECONDS

    def reset(self) -> None:
        """Begin with short waits again, since an attempt has succeeded."""
        self._seconds = _SHORTEST_SECONDS

    async def wait(self) -> None:
        """Wait, and longer the next time."""
        with suppress(TimeoutError):
            await asyncio.wait_for(self._stop.wait(), self._seconds)
        self._seconds = min(2 * self._seconds, _LONGEST_SECONDS)


async def unless_stopped(stop: asyncio.Event, work: Coroutine[Any, Any, T]) -> T | None:
    """Give the result of `work`, or cancel it and give None if the stop comes first."""
    working, stopping = asyncio.ensure_future(work), asyncio.ensure_future(stop.wait())
    try:
        await asyncio.wait({working, stopping}, return_when=asyncio.FIRST_COMPLETED)
        return working.result() if working.done() else None
    finally:
        working.cancel()
        stopping.cancel()
        await asyncio.gather(working, stopping, return_exceptions=True)
