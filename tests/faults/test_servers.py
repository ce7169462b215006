"""Postgres and Kafka are killed with all of their processes; Postgres runs out of disk."""

import asyncio
import os
import subprocess
from collections.abc import Iterator
from pathlib import Path

import pytest

from engine.embedded.postgres import EmbeddedPostgres, copy_template
from engine.store.migrate import migrate
from tests.faults.conftest import Stager
from tests.faults.scene import SERVICES, Scene, only_at_length, rounds
from tests.support.apache_kafka import ApacheKafka
from tests.support.killing import kill_postgres

_MEGABYTES = 400
_EVERY_LINE = """
from engine.log_repeats import HoldBackRepeats
HoldBackRepeats.filter = lambda self, record: True
"""
"""Complaints are counted, and repeated lines are otherwise suppressed for minutes."""


@pytest.fixture
def postgres(pytestconfig: pytest.Config, tmp_path: Path) -> Iterator[EmbeddedPostgres]:
    """A dedicated server that keeps committed data."""
    copy_template(pytestconfig.cache.mkdir("postgres"), tmp_path / "postgres")
    with EmbeddedPostgres(tmp_path / "postgres", durable=True) as server:
        yield server


async def test_kills_of_postgres_and_kafka(
    stage: Stager, postgres: EmbeddedPostgres, kafka: ApacheKafka
) -> None:
    await migrate(postgres.url, grants_named_tables=True)
    scene = await stage(url=postgres.url)
    scene.services.start(*SERVICES)
    for _ in range(rounds(2)):
        sending = asyncio.create_task(scene.produce(scene.dice.randrange(100, 1000)))
        await asyncio.sleep(scene.dice.uniform(0, 2))  # a random moment
        scene.count("processes of Postgres killed", kill_postgres(postgres))
        await asyncio.to_thread(postgres.start)
        await asyncio.sleep(scene.dice.uniform(0, 1))
        await asyncio.to_thread(kafka.kill)
        scene.count("kills of Kafka")
        await asyncio.to_thread(kafka.start)
        await sending
    await scene.assert_right()


@pytest.fixture
def small_disk(tmp_path: Path) -> Iterator[Path]:
    """A separate small file system."""
    disk = tmp_path / "disk"
    disk.mkdir()
    mount = ["mount", "-t", "tmpfs", "-o", f"size={_MEGABYTES}m", "knockon-fault", str(disk)]
    done = subprocess.run(mount, capture_output=True, text=True, check=False)
    if done.returncode:
        pytest.skip(f"no small disk can be mounted here: {done.stderr.strip()}")
    yield disk
    subprocess.run(["umount", "--lazy", str(disk)], check=True)


@only_at_length
async def test_a_disk_full_under_postgres(
    stage: Stager, small_disk: Path, pytestconfig: pytest.Config
) -> None:
    copy_template(pytestconfig.cache.mkdir("postgres"), small_disk / "postgres")
    with EmbeddedPostgres(small_disk / "postgres", durable=True) as server:
        await migrate(server.url, grants_named_tables=True)
        scene = await stage(url=server.url)
        scene.services.start(*SERVICES, patch=_EVERY_LINE)
        for _ in range(rounds(1)):
            await scene.produce(200)
            await fill_up(scene, small_disk / "ballast", server)
        await scene.assert_right()
        scene.services.drain()


async def fill_up(scene: Scene, ballast: Path, server: EmbeddedPostgres) -> None:
    """Fill the disk, continue until Postgres reports errors or crashes, and free the space."""
    messages = scene.orders.change(2000)
    await scene.until(scene.saved)
    before = complaints(scene)
    write_until_full(ballast)
    await scene.producer.send(messages)
    await scene.until(lambda: complaints(scene) > before + 5 or server_has_ended(server))
    os.unlink(ballast)
    if server_has_ended(server):
        scene.count("crashes of Postgres")
        await asyncio.to_thread(server.stop)
        await asyncio.to_thread(server.start)
    scene.count("times full")
    scene.count("messages", len(messages))
    scene.seen["complaints of Postgres"] = complaints(scene)


def write_until_full(file: Path) -> None:
    fill = ["dd", "if=/dev/zero", f"of={file}", "bs=64k"]
    assert subprocess.run(fill, capture_output=True, check=False).returncode != 0


def complaints(scene: Scene) -> int:
    """Errors in the logs of the services, because the server's log is on the full disk."""
    logs = (scene.services.log_of(name).read_text(errors="replace") for name in SERVICES)
    return sum(log.count("No space left on device") for log in logs)


def server_has_ended(server: EmbeddedPostgres) -> bool:
    return server._child is None or not server._child.running
