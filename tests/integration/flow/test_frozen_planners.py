"""The planning lock of a frozen process is released, and that of a working one is not."""

import asyncio
from collections.abc import Awaitable, Callable
from typing import Any

import psycopg
import pytest

from engine.flow.planning.frozen_planners import release_frozen
from engine.flow.shared.org_context import OrgContext
from engine.store.database import Connection, Database
from engine.store.orgs import ensure_org, lock_planning, lock_planning_session
from tests.support.worlds import World, job, source


@pytest.fixture
async def world(database: Database) -> World:
    return await World.made(database, source("a"), job("b", "a"))


async def released(world: World, seconds: float = 0) -> bool:
    async with world.conn() as conn:
        return await release_frozen(conn, world.org, seconds)


async def _in_session(conn: Connection, world: World) -> None:
    await lock_planning_session(conn, world.org.id)


async def _in_transaction(conn: Connection, world: World) -> None:
    await conn.execute("BEGIN")
    await lock_planning(conn, world.org.id)


async def _in_a_copy(conn: Connection, world: World) -> None:
    await _in_transaction(conn, world)
    conn.pgconn.send_query(b"COPY knockon.pauses FROM STDIN")
    conn.pgconn.flush()
    await asyncio.sleep(0.1)


@pytest.mark.parametrize("frozen", [_in_session, _in_transaction, _in_a_copy])
async def test_a_silent_session_is_ended(
    world: World, frozen: Callable[[Any, World], Awaitable[None]]
) -> None:
    conn = await psycopg.AsyncConnection.connect(world.database.url, autocommit=True)
    await frozen(conn, world)
    assert not await released(world, seconds=60)
    assert await released(world)
    await world.plan()
    assert not await released(world)
    await conn.close()


async def test_a_working_session_is_not_ended(world: World) -> None:
    async with world.conn() as conn:
        await lock_planning_session(conn, world.org.id)
        working = asyncio.create_task(conn.execute("SELECT pg_sleep(0.5)"))
        await asyncio.sleep(0.1)
        assert not await released(world)
        await working


async def test_a_session_that_plans_another_org_is_not_ended(world: World) -> None:
    async with world.conn() as conn:
        other = OrgContext(await ensure_org(conn, "other"))
        await lock_planning_session(conn, other.id)
        assert not await released(world)
