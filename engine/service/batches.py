"""Batches of requests that arrive at the same time, each batch in one transaction."""

import asyncio
from collections import defaultdict, deque
from collections.abc import Awaitable, Callable, Hashable, Sequence
from contextvars import Context
from typing import Generic, TypeVar

K = TypeVar("K", bound=Hashable)
A = TypeVar("A")
R = TypeVar("R")


class Batches(Generic[K, A, R]):
    """Items by key: those that arrive while a batch of the key is running form the next one.

    So an item never waits for a timer, and its batch begins after its arrival. ``run`` returns the
    result of each item, or the error to raise for it; an error that it raises is that of all items.
    """

    def __init__(
        self, run: Callable[[K, Sequence[A]], Awaitable[Sequence[R | Exception]]], most: int = 500
    ) -> None:
        self._run = run
        self._most = most
        self._waiting: defaultdict[K, deque[tuple[A, asyncio.Future[R]]]] = defaultdict(deque)
        self._running: dict[K, asyncio.Task[None]] = {}

    async def add(self, key: K, item: A) -> R:
        """Return the result of an item."""
        result: asyncio.Future[R] = asyncio.get_running_loop().create_future()
        self._waiting[key].append((item, result))
        if key not in self._running:
            # In a context of its own: the log lines of a batch name no single request.
            task = asyncio.create_task(self._run_all(key), context=Context())
            self._running[key] = task
        return await result

    async def _run_all(self, key: K) -> None:
        try:
            while waiting := self._waiting[key]:
                batch = [waiting.popleft() for _ in range(min(len(waiting), self._most))]
                await self._run_batch(key, batch)
        finally:
            del self._running[key], self._waiting[key]

    async def _run_batch(self, key: K, batch: list[tuple[A, asyncio.Future[R]]]) -> None:
        outcomes: Sequence[R | Exception]
        try:
            outcomes = await self._run(key, [item for item, _ in batch])
        except Exception as error:
            outcomes = [error] * len(batch)
        for (_, result), outcome in zip(batch, outcomes, strict=True):
            if result.done():
                continue  # the request was canceled
            if isinstance(outcome, Exception):
                result.set_exception(outcome)
            else:
                result.set_result(outcome)


async def in_parts(
    items: Sequence[A],
    identity: Callable[[A], Hashable],
    run: Callable[[Sequence[A]], Awaitable[Sequence[R]]],
) -> list[R]:
    """Run items in parts, one after the other, none of which has an identity twice."""
    parts: list[dict[Hashable, int]] = []
    for index, item in enumerate(items):
        key = identity(item)
        part = next((part for part in parts if key not in part), None)
        if part is None:
            part = {}
            parts.append(part)
        part[key] = index
    results: dict[int, R] = {}
    for indexes in (list(part.values()) for part in parts):
        results.update(zip(indexes, await run([items[index] for index in indexes]), strict=True))
    return [results[index] for index in range(len(items))]
