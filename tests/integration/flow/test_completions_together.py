"""Successes recorded in one transaction: each counts once, and locks follow one order."""

import asyncio
from dataclasses import replace
from uuid import uuid4

import pytest

from engine.flow.execution.complete import complete_all
from engine.flow.execution.heartbeat import heartbeat
from engine.model.states import TaskStatus
from engine.model.task import Completion, Lease
from engine.store.database import Connection, Database
from engine.worker.client import Client
from tests.support.deploys import is_waiting
from tests.support.migrations import until
from tests.support.worlds import World, job, source


@pytest.fixture
async def world(database: Database) -> World:
    world = await World.made(database, source("orders"), job("made", "orders"))
    await world.changed("orders", "2013-02-01..2013-02-10")
    return world


async def _statuses(world: World) -> list[str]:
    return [row["status"] for row in await world.rows("SELECT status FROM tasks ORDER BY id")]


async def test_a_client_records_many_successes_at_once(world: World) -> None:
    client = Client(world.database, world.org, "w", runtimes=("local",))
    leases = await client.claim(limit=10)
    lost = replace(leases[3], token=uuid4())
    completions = [Completion(lease, ()) for lease in [*leases[:3], lost, *leases[4:]]]
    recorded = await client.complete_all(completions)
    assert recorded == {lease.task_id for lease in leases} - {lost.task_id}
    assert (await _statuses(world)).count(TaskStatus.RUNNING) == 1
    await client.close()


async def test_two_successes_of_a_task_count_once(world: World) -> None:
    lease, *_ = await world.claim()
    stale = replace(lease, token=uuid4())
    async with world.conn() as conn:
        completions = [Completion(each, ()) for each in (lease, stale, lease)]
        assert await complete_all(conn, world.org, completions) == {lease.task_id}
    assert len(await world.rows("SELECT FROM task_attempts")) == 1


async def test_heartbeats_and_completions_lock_in_one_order(world: World) -> None:
    """A third session holds one task, so that both wait with the locks they have."""
    first, second, third, *_ = sorted(await world.claim(), key=lambda lease: lease.task_id)
    async with world.conn() as holder, world.conn() as one, world.conn() as other:
        async with holder.transaction():
            await holder.execute(
                b"SELECT FROM knockon.tasks WHERE id = %s FOR UPDATE", [second.task_id]
            )
            beating = asyncio.create_task(heartbeat(one, [third, second, first], 30))
            await until(lambda: is_waiting(world, one.info.backend_pid))
            completing = asyncio.create_task(_complete(world, other, third, first))
            await until(lambda: is_waiting(world, other.info.backend_pid))
        assert len(await beating) == 3
        assert await completing == 2


async def _complete(world: World, conn: Connection, *leases: Lease) -> int:
    return len(await complete_all(conn, world.org, [Completion(lease, ()) for lease in leases]))
