"""Connections to Postgres are closed, go silent, are held open, or pass through a pooler.

A NOTIFY queue filled by another listener is covered by
tests/integration/consumers/postgres/test_full_queue.py.
"""

import asyncio
import shutil
import socket
import time
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from pathlib import Path

import pytest
from psycopg.conninfo import conninfo_to_dict, make_conninfo

from engine.embedded.broker import free_port
from engine.embedded.child_process import ChildProcess
from engine.embedded.drop_privileges import drop_privileges
from engine.store.database import Database
from tests.faults.conftest import Stager
from tests.faults.scene import SERVICES, Scene, only_at_length, rounds
from tests.support.proxy import proxy_to
from tests.support.shop import POSTGRES
from tests.support.worlds import World, job, source

_LISTENERS = """
SELECT pg_terminate_backend(pid) FROM pg_stat_activity
WHERE datname = current_database() AND query ILIKE 'LISTEN%' AND pid <> pg_backend_pid()
"""
_EVERYBODY = """
SELECT pg_terminate_backend(pid) FROM pg_stat_activity
WHERE datname = current_database() AND pid <> pg_backend_pid()
"""


@only_at_length
async def test_listeners_that_the_server_ends(stage: Stager) -> None:
    scene = await stage(source=POSTGRES)
    scene.services.start(*SERVICES)
    scene.change_the_table(10)
    await scene.assert_table_right()
    for _ in range(rounds(4)):
        scene.change_the_table(10)
        await asyncio.sleep(scene.dice.uniform(0, 1))  # a random moment
        scene.count("listeners ended", len(scene.rows(_LISTENERS)))
    await scene.assert_table_right()


@only_at_length
async def test_every_session_is_ended(scene: Scene) -> None:
    scene.services.start(*SERVICES)
    await scene.produce(10)
    await scene.come_to_rest()
    for _ in range(rounds(4)):
        await scene.produce(scene.dice.randrange(1, 300))
        await asyncio.sleep(scene.dice.uniform(0, 1))  # a random moment
        scene.count("sessions ended", len(scene.rows(_EVERYBODY)))
    await scene.assert_right()


@only_at_length
async def test_a_listener_behind_a_network_that_goes_silent(
    stage: Stager, database_url: str
) -> None:
    async with proxy_to(database_url) as proxy:
        scene = await stage(source=POSTGRES)
        scene.services.start("engine", "worker")
        scene.services.start(
            "consume", KNOCKON_SOURCE_URL=proxy.url, KNOCKON_SOURCE_HEARTBEAT_SECONDS="1"
        )
        for _ in range(rounds(2)):
            scene.change_the_table(10)
            await scene.assert_table_right()
            proxy.go_dead()
            scene.count("times silent")
            scene.change_the_table(10)
            await scene.assert_table_right()


async def test_a_snapshot_that_is_held_through_thousands_of_claims(
    database_url: str, report: dict[str, object]
) -> None:
    tasks = rounds(500)
    bounds = {"n": {"range": 1, "start": 0, "end": tasks}}
    async with await Database.open(database_url) as database:
        world = await World.made(
            database, source("numbers", bounds), job("made", "numbers", partitioning=bounds)
        )
        report["claims"] = 2 * tasks
        report["a second"] = await claims_a_second(world, tasks)
        async with database.transaction() as snapshot:
            await snapshot.execute("SET TRANSACTION ISOLATION LEVEL REPEATABLE READ")
            await snapshot.execute("SELECT count(*) FROM tasks")
            report["a second under the snapshot"] = await claims_a_second(world, tasks)


async def claims_a_second(world: World, tasks: int) -> str:
    """Rebuild all partitions, each once, and return the rate."""
    await world.changed("numbers", f"0-0..{tasks - 1}-{tasks - 1}")
    began, made = time.monotonic(), []
    while leases := await world.claim(limit=20):
        for lease in leases:
            made += lease.partitions
            await world.finish(lease)
    assert sorted(made) == sorted(f"{n}-{n}" for n in range(tasks))
    return f"{tasks / (time.monotonic() - began):.0f}"


_POOLER = """
[databases]
* = host={host} port={port} user=postgres
[pgbouncer]
listen_addr = 127.0.0.1
listen_port = {listen_port}
unix_socket_dir =
auth_type = any
pool_mode = transaction
default_pool_size = 20
ignore_startup_parameters = extra_float_digits
"""


def _listens(port: int) -> bool:
    with socket.socket() as client:
        return client.connect_ex(("127.0.0.1", port)) == 0


@asynccontextmanager
async def pooler(url: str, directory: Path) -> AsyncIterator[str]:
    """The address of a database behind PgBouncer in transaction mode."""
    program = shutil.which(
        "pgbouncer", path="/usr/sbin:/usr/local/sbin:" + shutil.os.environ["PATH"]
    )
    if program is None:
        pytest.skip("no PgBouncer here: install it")
    there, port = conninfo_to_dict(url), free_port()
    file = directory / "pgbouncer.ini"
    told = {"host": there["host"], "port": there.get("port", 5432), "listen_port": port}
    file.write_text(_POOLER.format(**told))
    child = ChildProcess(
        drop_privileges([program, str(file)]), stop_signal="TERM", log=directory / "pooler.log"
    )
    while not _listens(port):
        assert child.running, (directory / "pooler.log").read_text()
        await asyncio.sleep(0.05)
    try:
        yield make_conninfo(url, host="127.0.0.1", port=port)
    finally:
        child.stop(10)


@only_at_length
async def test_a_pooler_in_transaction_mode(
    stage: Stager, database_url: str, tmp_path: Path
) -> None:
    async with pooler(database_url, tmp_path) as url:
        scene = await stage()
        scene.services.start(*SERVICES, KNOCKON_DATABASE_URL=url)
        await scene.produce(20)
        await scene.assert_right()
        scene.services.drain()
