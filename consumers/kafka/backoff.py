"""Waits between the attempts of a consumer."""

import asyncio
from contextlib import suppress

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
