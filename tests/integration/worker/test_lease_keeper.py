"""A run that ends during a renewal neither stops the heartbeat nor affects the other leases."""

import asyncio
from collections.abc import Mapping, Sequence
from datetime import datetime
from uuid import UUID

import pytest

from engine.errors import LeaseLost
from engine.model.task import Lease
from engine.store.database import Database
from engine.worker.lease_keeper import LeaseKeeper
from tests.support.worlds import World, job, source


class Renewal:
    """A renewal that blocks until released by the test."""

    def __init__(self) -> None:
        self.requested = asyncio.Event()
        self.released = asyncio.Event()

    async def renew(self, leases: Sequence[Lease]) -> Mapping[UUID, datetime]:
        self.requested.set()
        await self.released.wait()
        return {}


@pytest.fixture
async def lease(database: Database) -> Lease:
    world = await World.made(database, source("orders"), job("made", "orders"))
    await world.changed("orders", "2013-02-13")
    [lease] = await world.claim()
    return lease


async def test_a_run_may_end_during_a_renewal(lease: Lease) -> None:
    renewal = Renewal()
    keeper = LeaseKeeper(renewal.renew, lease_seconds=1)
    async with keeper.hold(lease):
        await renewal.requested.wait()
    renewal.released.set()
    assert keeper._renewals is not None
    await keeper._renewals


async def test_a_lease_that_expires_during_a_renewal_is_lost(lease: Lease) -> None:
    renewal = Renewal()
    keeper = LeaseKeeper(renewal.renew, lease_seconds=1)
    with pytest.raises(LeaseLost):
        await stop_slowly(keeper, lease, renewal)
    assert keeper._renewals is not None
    await keeper._renewals


async def stop_slowly(keeper: LeaseKeeper, lease: Lease, renewal: Renewal) -> None:
    async with keeper.hold(lease):
        try:
            await asyncio.Event().wait()
        finally:
            renewal.released.set()
            await asyncio.sleep(0.01)
