"""Items that arrive during a batch of their key form the next one."""

import asyncio
from collections.abc import Sequence
from dataclasses import dataclass, field

import pytest

from engine.service.batches import Batches


@dataclass
class Gate:
    """A function that records its batches, and runs one for each release."""

    ran: list[tuple[str, list[int]]] = field(default_factory=list)
    open: asyncio.Semaphore = field(default_factory=lambda: asyncio.Semaphore(0))
    error: Exception | None = None

    async def run(self, key: str, items: Sequence[int]) -> list[int | Exception]:
        self.ran.append((key, [*items]))
        await self.open.acquire()
        if self.error is not None:
            raise self.error
        return [ValueError(str(item)) if item < 0 else item * 2 for item in items]


async def added(batches: Batches[str, int, int], key: str, *items: int) -> list[asyncio.Task[int]]:
    tasks = [asyncio.create_task(batches.add(key, item)) for item in items]
    await asyncio.sleep(0)
    await asyncio.sleep(0)
    return tasks


async def test_items_that_arrive_during_a_batch_form_the_next_one() -> None:
    gate = Gate()
    batches = Batches(gate.run)
    tasks = await added(batches, "k", 1) + await added(batches, "k", 2, 3)
    assert gate.ran == [("k", [1])]
    gate.open.release()
    gate.open.release()
    assert await asyncio.gather(*tasks) == [2, 4, 6]
    assert gate.ran == [("k", [1]), ("k", [2, 3])]


async def test_keys_do_not_wait_for_each_other() -> None:
    gate = Gate()
    batches = Batches(gate.run)
    await added(batches, "k", 1)
    await added(batches, "other", 2)
    assert gate.ran == [("k", [1]), ("other", [2])]


async def test_a_batch_has_a_limit() -> None:
    gate = Gate()
    batches = Batches(gate.run, most=2)
    tasks = await added(batches, "k", 1, 2, 3, 4, 5)
    for _ in range(3):
        gate.open.release()
    await asyncio.gather(*tasks)
    assert [items for _, items in gate.ran] == [[1, 2], [3, 4], [5]]


async def test_each_item_gets_its_own_error() -> None:
    gate = Gate()
    batches = Batches(gate.run)
    first, good, bad = await added(batches, "k", 0) + await added(batches, "k", 1, -1)
    gate.open.release()
    gate.open.release()
    assert await first == 0
    assert await good == 2
    with pytest.raises(ValueError, match="-1"):
        await bad


async def test_an_error_of_a_batch_is_that_of_all_items_and_the_next_one_runs() -> None:
    gate = Gate(error=OSError("away"))
    batches = Batches(gate.run)
    tasks = await added(batches, "k", 1) + await added(batches, "k", 2)
    gate.open.release()
    gate.open.release()
    results = await asyncio.gather(*tasks, return_exceptions=True)
    assert [str(each) for each in results] == ["away", "away"]
    gate.error = None
    (again,) = await added(batches, "k", 3)
    gate.open.release()
    assert await again == 6


async def test_a_canceled_item_does_not_affect_the_others() -> None:
    gate = Gate()
    batches = Batches(gate.run)
    first, canceled, other = await added(batches, "k", 1) + await added(batches, "k", 2, 3)
    canceled.cancel()
    gate.open.release()
    gate.open.release()
    assert await first == 2
    assert await other == 6
    assert canceled.cancelled()
