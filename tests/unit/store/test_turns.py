"""Turns at connections are fair between orgs."""

import asyncio
from contextlib import AsyncExitStack

import pytest
from psycopg_pool import PoolTimeout

from engine.store.turns import Turns


class Requests:
    """Requests that hold their turns until they are told to end."""

    def __init__(self, size: int, seconds: float = 60) -> None:
        self.turns = Turns(size, seconds)
        self.served: list[str] = []
        self._ends: list[asyncio.Event] = []
        self._tasks: list[asyncio.Task[None]] = []

    async def start(self, org: str, count: int = 1) -> None:
        self._tasks += [asyncio.create_task(self._hold(org)) for _ in range(count)]
        await self._settle()

    async def end_oldest(self) -> None:
        self._ends.pop(0).set()
        await self._settle()

    async def cancel(self, number: int) -> None:
        self._tasks[number].cancel()
        await self._settle()

    async def _hold(self, org: str) -> None:
        async with self.turns.turn(org):
            self.served.append(org)
            self._ends.append(end := asyncio.Event())
            await end.wait()

    @staticmethod
    async def _settle() -> None:
        for _ in range(10):
            await asyncio.sleep(0)


async def test_a_single_org_leaves_turns_to_others() -> None:
    requests = Requests(10)
    await requests.start("a", 100)
    assert requests.served == ["a"] * 8
    await requests.start("b")
    await requests.start("c")
    assert requests.served[8:] == ["b", "c"]


async def test_after_each_turn_the_org_with_the_fewest_is_next() -> None:
    requests = Requests(4)
    await requests.start("a", 100)
    await requests.start("b", 100)
    assert requests.served == ["a", "a", "a", "b"]
    for _ in range(60):
        await requests.end_oldest()
    assert requests.served.count("a") - requests.served.count("b") in range(-2, 3)
    await requests.start("c")
    await requests.end_oldest()
    assert requests.served[-1] == "c", "however many requests of the others wait"


async def test_a_single_turn_alternates() -> None:
    requests = Requests(1)
    await requests.start("a", 50)
    await requests.start("b", 3)
    for _ in range(6):
        await requests.end_oldest()
    assert requests.served.count("b") == 3


async def test_requests_that_are_canceled_leave_the_line() -> None:
    requests = Requests(2)
    await requests.start("a", 3)
    await requests.cancel(1)
    await requests.cancel(0)
    assert requests.served == ["a", "a"]
    await requests.start("b")
    assert requests.served == ["a", "a", "b"]


async def test_a_turn_handed_over_to_a_canceled_request_is_free_again() -> None:
    turns = Turns(1, 60)
    async with AsyncExitStack() as stack:
        await stack.enter_async_context(turns.turn("a"))
        waiting = asyncio.create_task(stack.enter_async_context(turns.turn("b")))
        await asyncio.sleep(0)
        await stack.aclose()
        waiting.cancel()
        with pytest.raises(asyncio.CancelledError):
            await waiting
    async with turns.turn("c"):
        pass


async def test_without_a_free_turn_the_wait_ends() -> None:
    turns = Turns(1, 0.01)
    async with turns.turn("a"):
        with pytest.raises(PoolTimeout, match="no connection was free"):
            async with turns.turn("b"):
                pass
    async with turns.turn("b"):
        pass
