"""All processes of Postgres and Kafka are killed; the disk under Postgres is full."""

import asyncio
import os
import subprocess
from collections.abc import Iterator
from pathlib import Path

import pytest

from engine.embedded.postgres import EmbeddedPostgres, copy_template
from engine.store.migrate import migrate
from tests.faults.conftest import HarnessFactory
from tests.faults.harness import SERVICES, Harness, long_run_only, rounds
from tests.support.apache_kafka import ApacheKafka
from tests.support.killing import kill_postgres

_MEGABYTES = 400
_LOG_REPEATED_LINES = """
from engine.log_repeats import HoldBackRepeats
HoldBackRepeats.filter = lambda self, record: True
"""
"""The test counts errors in the log, which otherwise suppresses repeated lines for minutes."""


@pytest.fixture
def postgres(pytestconfig: pytest.Config, tmp_path: Path) -> Iterator[EmbeddedPostgres]:
    """A dedicated server that keeps committed data."""
    copy_template(pytestconfig.cache.mkdir("postgres"), tmp_path / "postgres")
    with EmbeddedPostgres(tmp_path / "postgres", durable=True) as server:
        yield server


async def test_postgres_and_kafka_are_killed(
    make_harness: HarnessFactory, postgres: EmbeddedPostgres, kafka: ApacheKafka
) -> None:
    await migrate(postgres.url, grants_named_tables=True)
    harness = await make_harness(url=postgres.url)
    harness.services.start(*SERVICES)
    for _ in range(rounds(2)):
        sending = asyncio.create_task(harness.produce(harness.rng.randrange(100, 1000)))
        await asyncio.sleep(harness.rng.uniform(0, 2))  # a random moment
        harness.count("processes of Postgres killed", kill_postgres(postgres))
        await asyncio.to_thread(postgres.start)
        await asyncio.sleep(harness.rng.uniform(0, 1))
        await asyncio.to_thread(kafka.kill)
        harness.count("kills of Kafka")
        await asyncio.to_thread(kafka.start)
        await sending
    await harness.assert_consistent()


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


@long_run_only
async def test_disk_is_full_under_postgres(
    make_harness: HarnessFactory, small_disk: Path, pytestconfig: pytest.Config
) -> None:
    copy_template(pytestconfig.cache.mkdir("postgres"), small_disk / "postgres")
    with EmbeddedPostgres(small_disk / "postgres", durable=True) as server:
        await migrate(server.url, grants_named_tables=True)
        harness = await make_harness(url=server.url)
        harness.services.start(*SERVICES, patch=_LOG_REPEATED_LINES)
        for _ in range(rounds(1)):
            await harness.produce(200)
            await fill_disk(harness, small_disk / "ballast", server)
        await harness.assert_consistent()
        harness.services.drain()


async def fill_disk(harness: Harness, ballast: Path, server: EmbeddedPostgres) -> None:
    """Fill the disk, continue until Postgres reports errors or crashes, and free the space."""
    messages = harness.workload.change(2000)
    await harness.until(harness.saved)
    before = disk_full_errors(harness)
    write_until_full(ballast)
    await harness.producer.send(messages)
    await harness.until(lambda: disk_full_errors(harness) > before + 5 or server_has_ended(server))
    os.unlink(ballast)
    if server_has_ended(server):
        harness.count("crashes of Postgres")
        await asyncio.to_thread(server.stop)
        await asyncio.to_thread(server.start)
    harness.count("times full")
    harness.count("messages", len(messages))
    harness.observations["errors of Postgres"] = disk_full_errors(harness)


def write_until_full(file: Path) -> None:
    fill = ["dd", "if=/dev/zero", f"of={file}", "bs=64k"]
    assert subprocess.run(fill, capture_output=True, check=False).returncode != 0


def disk_full_errors(harness: Harness) -> int:
    """Number of errors in the services' logs, because the server's log is on the full disk."""
    logs = (harness.services.log_of(name).read_text(errors="replace") for name in SERVICES)
    return sum(log.count("No space left on device") for log in logs)


def server_has_ended(server: EmbeddedPostgres) -> bool:
    return server._child is None or not server._child.running
