"""Fair turns of orgs at the connections of a pool."""

import asyncio
from collections import Counter, deque
from collections.abc import AsyncIterator, Hashable
from contextlib import asynccontextmanager

from psycopg_pool import PoolTimeout

_RESERVED = 5
"""The part of the turns that a single org cannot hold: one of so many, and at least one."""


class Turns:
    """Some turns, each free one for the org that holds the fewest among those that wait.

    A single org leaves a few turns to others. However many requests it has, another org waits for
    the end of one turn at most.
    """

    def __init__(self, size: int, seconds: float) -> None:
        self._free = size
        self._most = max(size - max(size // _RESERVED, 1), 1)
        self._seconds = seconds
        self._held: Counter[Hashable] = Counter()
        self._waiting: dict[Hashable, deque[asyncio.Future[None]]] = {}

    @asynccontextmanager
    async def turn(self, org: Hashable) -> AsyncIterator[None]:
        """Take a turn. Raises PoolTimeout if none is free in time."""
        await self._take(org)
        try:
            yield
        finally:
            self._held[org] -= 1
            self._held += Counter()  # forgets orgs without any
            self._free += 1
            self._hand_on()

    async def _take(self, org: Hashable) -> None:
        arrival: asyncio.Future[None] = asyncio.get_running_loop().create_future()
        self._waiting.setdefault(org, deque()).append(arrival)
        self._hand_on()
        if arrival.done():
            return
        try:
            async with asyncio.timeout(self._seconds):
                await arrival
        except BaseException as error:
            self._withdraw(org, arrival)
            if isinstance(error, TimeoutError):
                raise PoolTimeout(
                    f"no connection was free within {self._seconds:g} seconds"
                ) from None
            raise

    def _withdraw(self, org: Hashable, arrival: asyncio.Future[None]) -> None:
        """Leave the line, or give back the turn that was handed over meanwhile."""
        if arrival.done() and not arrival.cancelled():
            self._held[org] -= 1
            self._free += 1
            self._hand_on()
        elif org in self._waiting and arrival in self._waiting[org]:
            self._remove(org, arrival)

    def _hand_on(self) -> None:
        while self._free:
            waiting = [org for org in self._waiting if self._held[org] < self._most]
            if not waiting:
                return
            org = min(waiting, key=self._held.__getitem__)
            line = self._waiting.pop(org)
            arrival = line.popleft()
            if line:
                self._waiting[org] = line  # last among those that hold as many
            if not arrival.done():
                self._free -= 1
                self._held[org] += 1
                arrival.set_result(None)

    def _remove(self, org: Hashable, arrival: asyncio.Future[None]) -> None:
        self._waiting[org].remove(arrival)
        if not self._waiting[org]:
            del self._waiting[org]
