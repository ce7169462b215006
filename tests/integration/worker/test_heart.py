"""The heart goes on beating for the others, whatever happens to one run while it asks."""

import asyncio
from collections.abc import Mapping, Sequence
from datetime import datetime
from uuid import UUID

import pytest

from engine.errors import LeaseLost
from engine.model.task import Lease
from engine.store.database import Database
from engine.worker.heart import Heart
from tests.support.worlds import World, job, source


class Answer:
    """What the database says of the leases, once it is let to."""

    def __init__(self) -> None:
        self.asked = asyncio.Event()
        self.given = asyncio.Event()

    async def renew(self, leases: Sequence[Lease]) -> Mapping[UUID, datetime]:
        self.asked.set()
        await self.given.wait()
        return {}


@pytest.fixture
async def lease(database: Database) -> Lease:
    world = await World.made(database, source("orders"), job("made", "orders"))
    await world.changed("orders", "2013-02-13")
    [lease] = await world.claim()
    return lease


async def test_a_run_that_ends_before_the_answer(lease: Lease) -> None:
    answer = Answer()
    heart = Heart(answer.renew, lease_seconds=1)
    async with heart.keeping(lease):
        await answer.asked.wait()
    answer.given.set()
    assert heart._beating is not None
    await heart._beating


async def test_a_lease_that_runs_out_before_the_answer(lease: Lease) -> None:
    answer = Answer()
    heart = Heart(answer.renew, lease_seconds=1)
    with pytest.raises(LeaseLost):
        await stop_slowly(heart, lease, answer)
    assert heart._beating is not None
    await heart._beating


async def stop_slowly(heart: Heart, lease: Lease, answer: Answer) -> None:
    async with heart.keeping(lease):
        try:
            await asyncio.Event().wait()
        finally:
            answer.given.set()
            await asyncio.sleep(0.01)
