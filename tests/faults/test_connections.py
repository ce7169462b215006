"""Connections to Postgres are closed, fall silent, are held open, or pass through a pooler.

A NOTIFY queue filled by another listener is covered by
tests/integration/consumers/postgres/test_full_queue.py.
"""

import asyncio
import time
from pathlib import Path

from engine.store.database import Database, set_role_settings
from tests.faults.conftest import HarnessFactory
from tests.faults.harness import SERVICES, Harness, long_run_only, rounds
from tests.support.pooler import pooler
from tests.support.proxy import proxy_to
from tests.support.shop import POSTGRES
from tests.support.worlds import World, job, source

_LISTENERS = """
SELECT pg_terminate_backend(pid) FROM pg_stat_activity
WHERE datname = current_database() AND query ILIKE 'LISTEN%' AND pid <> pg_backend_pid()
"""
_ALL_SESSIONS = """
SELECT pg_terminate_backend(pid) FROM pg_stat_activity
WHERE datname = current_database() AND pid <> pg_backend_pid()
"""


@long_run_only
async def test_listeners_are_terminated(make_harness: HarnessFactory) -> None:
    harness = await make_harness(source=POSTGRES)
    harness.services.start(*SERVICES)
    harness.change_captured_table(10)
    await harness.assert_captured_table_consistent()
    for _ in range(rounds(4)):
        harness.change_captured_table(10)
        await asyncio.sleep(harness.rng.uniform(0, 1))  # a random moment
        harness.count("listeners ended", len(harness.rows(_LISTENERS)))
    await harness.assert_captured_table_consistent()


@long_run_only
async def test_all_sessions_are_terminated(harness: Harness) -> None:
    harness.services.start(*SERVICES)
    await harness.produce(10)
    await harness.wait_until_idle()
    for _ in range(rounds(4)):
        await harness.produce(harness.rng.randrange(1, 300))
        await asyncio.sleep(harness.rng.uniform(0, 1))  # a random moment
        harness.count("sessions ended", len(harness.rows(_ALL_SESSIONS)))
    await harness.assert_consistent()


@long_run_only
async def test_listener_behind_a_silent_network(
    make_harness: HarnessFactory, database_url: str
) -> None:
    async with proxy_to(database_url) as proxy:
        harness = await make_harness(source=POSTGRES)
        harness.services.start("engine", "worker")
        harness.services.start(
            "consume", KNOCKON_SOURCE_URL=proxy.url, KNOCKON_SOURCE_HEARTBEAT_SECONDS="1"
        )
        for _ in range(rounds(2)):
            harness.change_captured_table(10)
            await harness.assert_captured_table_consistent()
            proxy.go_dead()
            harness.count("times silent")
            harness.change_captured_table(10)
            await harness.assert_captured_table_consistent()


async def test_snapshot_is_held_during_thousands_of_claims(
    database_url: str, report: dict[str, object]
) -> None:
    tasks = rounds(500)
    bounds = {"n": {"range": 1, "start": 0, "end": tasks}}
    async with await Database.open(database_url) as database:
        world = await World.made(
            database, source("numbers", bounds), job("made", "numbers", partitioning=bounds)
        )
        report["claims"] = 2 * tasks
        report["a second"] = await claims_per_second(world, tasks)
        async with database.transaction() as snapshot:
            await snapshot.execute("SET TRANSACTION ISOLATION LEVEL REPEATABLE READ")
            # Another process, such as a backup, holds the snapshot for minutes.
            await snapshot.execute("SET LOCAL idle_in_transaction_session_timeout = 0")
            await snapshot.execute("SELECT count(*) FROM tasks")
            report["a second under the snapshot"] = await claims_per_second(world, tasks)


async def claims_per_second(world: World, tasks: int) -> str:
    """Rebuild all partitions, each once, and return the rate."""
    await world.changed("numbers", f"0-0..{tasks - 1}-{tasks - 1}")
    started, completed = time.monotonic(), []
    while leases := await world.claim(limit=20):
        for lease in leases:
            completed += lease.partitions
            await world.finish(lease)
    assert sorted(completed) == sorted(f"{n}-{n}" for n in range(tasks))
    return f"{tasks / (time.monotonic() - started):.0f}"


@long_run_only
async def test_pooler_in_transaction_mode(
    make_harness: HarnessFactory, database_url: str, tmp_path: Path
) -> None:
    async with pooler(database_url, tmp_path) as url:
        harness = await make_harness()
        await set_role_settings(url, database_url)
        harness.services.start(*SERVICES, KNOCKON_DATABASE_URL=url, KNOCKON_DIRECT_URL=database_url)
        await harness.produce(20)
        await harness.assert_consistent()
        harness.services.drain()
