"""One process serves all orgs, also those created later, and none keeps others waiting."""

import asyncio
from collections import Counter
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager

import pytest

from engine.errors import InvalidInput, OutdatedCode
from engine.flow.shared.org_context import OrgContext
from engine.loops.engine import engines_of_all_orgs
from engine.loops.orgs import ListedOrg, OrgList, Work, for_each_org
from engine.loops.schema_watch import SchemaWatch
from engine.model.presence import ALL_ORGS, Presence, ProcessKind
from engine.model.states import TaskStatus
from engine.settings import Settings
from engine.store.database import Database
from engine.store.orgs import ensure_org
from engine.store.presence import connected_kinds
from engine.worker import Worker
from tests.support.migrations import until
from tests.support.worlds import World, job, source

DAYS = [f"2013-02-{day:02}" for day in range(1, 29)]
SETTINGS = Settings(poll_seconds=0.05, concurrency=4)
SHELL = {"operator": "shell", "config": {"command": "true"}}


async def org_named(database: Database, slug: str) -> World:
    async with database.connection() as conn:
        world = World(database, OrgContext(await ensure_org(conn, slug)))
    await world.deploy(source("a"), job("b", "a", **SHELL))
    return world


@asynccontextmanager
async def running(database: Database, *, works: bool = True) -> AsyncIterator[None]:
    """Engines of all orgs, and a worker for all."""
    stop = asyncio.Event()
    async with asyncio.timeout(60), asyncio.TaskGroup() as group:
        group.create_task(engines_of_all_orgs(database, SETTINGS)(stop))
        if works:
            group.create_task(Worker(database, OrgList(database), SETTINGS).run(stop))
        try:
            yield
        finally:
            stop.set()


async def succeeded(world: World, count: int = 1) -> None:
    async def are_done() -> bool:
        rows = await world.rows(
            "SELECT status, count(*) AS n FROM all_tasks WHERE org_id = %s GROUP BY 1", world.org.id
        )
        return [(row["status"], row["n"]) for row in rows] == [(TaskStatus.SUCCEEDED, count)]

    await until(are_done)


async def test_orgs_are_served_as_soon_as_they_exist(database: Database) -> None:
    first = await org_named(database, "default")
    async with running(database):
        await first.change("a", DAYS[0])
        await succeeded(first)
        second = await org_named(database, "second")
        await second.change("a", *DAYS[:2])
        await succeeded(second, 2)
        await succeeded(first)


async def test_a_removed_org_ends_only_its_own_work(database: Database) -> None:
    first, second = await org_named(database, "default"), await org_named(database, "second")
    async with running(database):
        await second.change("a", DAYS[0])
        await succeeded(second)
        await second.rows(
            "DELETE FROM dag_current_versions WHERE org_id = %s RETURNING 1", second.org.id
        )
        await second.rows("DELETE FROM orgs WHERE slug = 'second' RETURNING 1")
        await first.change("a", DAYS[0])
        await succeeded(first)


async def test_an_org_with_many_tasks_leaves_slots_to_others(database: Database) -> None:
    first, second = await org_named(database, "default"), await org_named(database, "second")
    for world, days in ((first, DAYS), (second, DAYS[:3])):
        await world.changed("a", *days)
    orgs = OrgList(database)
    worker, stop = Worker(database, orgs, SETTINGS), asyncio.Event()
    refreshing = asyncio.create_task(orgs.run(stop))

    async def are_known() -> bool:
        return len(orgs.contexts) == 2

    await until(are_known)
    started = []
    worker._start = lambda client, org, lease: started.append(org.id)  # type: ignore[method-assign]
    async with database.connection() as conn:
        assert await worker._claim_in_turn(conn, 4) == 4
        assert sorted(started.count(each.org.id) for each in (first, second)) == [2, 2]
        assert await worker._claim_in_turn(conn, 4) == 4
        assert sorted(started.count(each.org.id) for each in (first, second)) == [3, 5]
    stop.set()
    await refreshing


async def test_processes_for_all_orgs_are_found_by_each(database: Database) -> None:
    presence = Presence(ALL_ORGS, (ProcessKind.ENGINE, ProcessKind.WORKER))
    async with SchemaWatch(database, presence=presence), database.connection() as conn:
        assert await connected_kinds(conn, "any") == {*presence.kinds}


async def test_no_org_has_the_name_of_all(database: Database) -> None:
    async with database.connection() as conn:
        with pytest.raises(InvalidInput, match="means all orgs"):
            await ensure_org(conn, ALL_ORGS)


async def test_orgs_alternate_when_single_slots_become_free(database: Database) -> None:
    first, second = await org_named(database, "default"), await org_named(database, "second")
    for n in range(6):  # orgs without work take no turns
        await org_named(database, f"idle{n}")
    for world in (first, second):
        await world.changed("a", *DAYS)
    orgs = OrgList(database)
    await orgs.refresh()
    worker, started = Worker(database, orgs, SETTINGS), []
    worker._start = lambda client, org, lease: started.append(org.id)  # type: ignore[method-assign]
    async with database.connection() as conn:
        for _ in range(20):
            assert await worker._claim_in_turn(conn, 1) == 1
    assert started.count(first.org.id) == started.count(second.org.id) == 10


async def test_an_error_in_one_org_ends_the_work_for_no_other(
    database: Database, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr("engine.loops.orgs._PAUSE_SECONDS", 0.01)
    async with database.connection() as conn:
        for slug in ("bad", "good"):
            await ensure_org(conn, slug)
    stop, began = asyncio.Event(), Counter[str]()
    steady = asyncio.Event()

    def start(org: ListedOrg) -> Work:
        async def work(end: asyncio.Event) -> None:
            began[org.slug] += 1
            if org.slug == "bad":
                if began["bad"] == 3:
                    steady.set()
                raise ExceptionGroup("several", [ValueError("a bug")])
            await end.wait()

        return work

    async with asyncio.timeout(20), asyncio.TaskGroup() as group:
        group.create_task(for_each_org(database, start)(stop))
        await steady.wait()
        assert began["good"] == 1
        stop.set()


async def test_outdated_code_ends_the_work_for_all_orgs(database: Database) -> None:
    def start(_: ListedOrg) -> Work:
        async def work(_: asyncio.Event) -> None:
            raise ExceptionGroup("several", [OutdatedCode("upgrade")])

        return work

    with pytest.raises(ExceptionGroup) as error:
        await for_each_org(database, start)(asyncio.Event())
    assert error.value.subgroup(OutdatedCode) is not None
