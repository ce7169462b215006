"""An org that floods the system, or whose work fails, does not keep others waiting."""

import asyncio
from contextlib import AsyncExitStack
from typing import Any

import pytest

from engine.flow.retention.publish import publish
from engine.loops.orgs import ListedOrg, OrgList, Work, for_each_org
from engine.store.database import Database
from engine.worker import Worker
from engine.worker.client import Client
from tests.integration.loops.test_all_orgs import DAYS, SETTINGS, org_named
from tests.support.migrations import until


async def test_an_error_in_the_work_for_one_org_leaves_that_of_others(
    database: Database, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr("engine.loops.orgs._REFRESH_SECONDS", 0.01)
    await org_named(database, "second")
    begun: list[str] = []

    def start(org: ListedOrg) -> Work:
        async def work(stop: asyncio.Event) -> None:
            begun.append(org.slug)
            if org.slug == "default":
                raise ValueError
            await stop.wait()

        return work

    async def is_repeated() -> bool:
        return begun.count("default") > 2

    stop = asyncio.Event()
    async with asyncio.timeout(30), asyncio.TaskGroup() as group:
        group.create_task(for_each_org(database, start)(stop))
        await until(is_repeated)
        stop.set()
    assert begun.count("second") == 1


async def test_an_org_whose_claims_fail_leaves_the_slots_to_others(
    database: Database, monkeypatch: pytest.MonkeyPatch
) -> None:
    first, second = await org_named(database, "default"), await org_named(database, "second")
    for world in (first, second):
        await world.changed("a", *DAYS)
    claim_on = Client.claim_on

    async def failing(client: Client, conn: Any, limit: int) -> Any:
        if client._org.id == first.org.id:
            raise ValueError
        return await claim_on(client, conn, limit)

    monkeypatch.setattr(Client, "claim_on", failing)
    orgs, started = OrgList(database), []
    await orgs.refresh()
    worker = Worker(database, orgs, SETTINGS)
    worker._start = lambda client, org, lease: started.append(org.id)  # type: ignore[method-assign]
    async with database.connection() as conn:
        for _ in range(3):
            assert await worker._claim_in_turn(conn, 4) == 4
    assert started == [second.org.id] * 12


async def test_the_feed_takes_as_many_events_of_each_org(
    database: Database, monkeypatch: pytest.MonkeyPatch
) -> None:
    first, second = await org_named(database, "default"), await org_named(database, "second")
    async with database.connection() as conn:
        while await publish(conn):
            pass
        await conn.execute(b"DELETE FROM knockon.events")
        monkeypatch.setattr("engine.flow.retention.publish._BATCH", 10)
        for world, count in ((first, 1_000), (second, 3)):
            await conn.execute(
                b"INSERT INTO knockon.pending_events (org_id, kind, subject_id) "
                b"SELECT %s, 'dag.deployed', gen_random_uuid() FROM generate_series(1, %s)",
                [world.org.id, count],
            )
        assert await publish(conn)
    rows = await first.rows("SELECT org_id, count(*) AS n FROM events GROUP BY 1")
    assert {row["org_id"]: row["n"] for row in rows} == {first.org.id: 7, second.org.id: 3}


async def test_an_org_cannot_hold_all_connections(database: Database) -> None:
    first, second = await org_named(database, "default"), await org_named(database, "second")
    async with (
        await Database.open(database.url, max_size=5) as small,
        AsyncExitStack() as held,
        asyncio.TaskGroup() as group,
    ):
        for _ in range(4):
            await held.enter_async_context(small.org_connection(first.org.id))
        served = []

        async def request(number: int) -> None:
            async with small.org_connection(first.org.id):
                served.append(number)

        for number in range(50):
            group.create_task(request(number))
        async with small.org_connection(second.org.id) as conn:
            await conn.execute(b"SELECT 1")
            assert served == []
        await held.aclose()
